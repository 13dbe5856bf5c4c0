/** Runs agents, each in its child session, and routes the events and status polls of a session to its run. */
import {
  errorText,
  HostError,
  type Message,
  type Part,
  type Session,
  type SessionStatus,
} from '../../host/opencode.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import type { StatusPoll } from '../../host/status-poll.ts'
import type { Failure, Outcome, Usage } from '../../task/state.ts'
import { isActive, isEnded, type AgentTask, type EndedTask } from '../../task/task.ts'
import type { Recovered, ReportOptions, WorkKind, WorkReport } from '../kind.ts'
import { failed, stopped, type StopCause } from '../outcome.ts'
import type { Queue } from '../queue.ts'
import { answerOf, reportOf } from './agent-report.ts'
import { AgentRun, type AgentRunPorts } from './agent-run.ts'
import { promptOf, sendPrompt } from './prompt.ts'
import type { RecoveryPorts } from './recover-agent.ts'

interface Ports extends AgentRunPorts {
  readonly statuses: StatusPoll
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Loads what runs agents on other machines. */
  readonly machines: () => Promise<Pick<WorktreeRuns, 'run'> & Pick<WorkKind<AgentTask>, 'recover'>>
  readonly queue: Queue
  /** Called for a task at the end of each of its steps, and at each status poll. */
  readonly onStep: (taskID: string) => void
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

export interface AgentOptions {
  /** Time limit of a run, in milliseconds; 0: no limit. */
  readonly timeoutMs: number
  /** How long a prompted session may be idle without a final answer, in milliseconds. */
  readonly startTimeoutMs: number
}

/** Time in which OpenCode stores an accepted message and starts its turn; generous (contract 2.3). */
const STORED_WITHIN_MS = 1000

export class AgentRunner implements WorkKind<AgentTask> {
  readonly queue: Queue
  readonly #ports: Ports
  readonly #options: AgentOptions
  /** By session id. */
  readonly #runs = new Map<string, AgentRun>()
  /** The usage of each run until its end is stored, which is after the run itself. By task id. */
  readonly #usages = new Map<string, () => Usage>()
  /** How a recovery treats a turn that still runs. */
  #leftTurns: ReturnType<RecoveryPorts['leftTurns']> = 'abort'
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, options: AgentOptions) {
    this.#ports = ports
    this.#options = options
    this.queue = ports.queue
  }

  /** Makes recoveries resume turns that still run, because OpenCode is another process and may have survived ours. */
  resumeLeftTurns(): void {
    this.#leftTurns = 'resume'
  }

  timeLimitOf(): number {
    return this.#options.timeoutMs
  }

  async run(task: AgentTask, onStarted: () => void, stop: AbortSignal): Promise<Outcome> {
    try {
      return await this.#runAnywhere(task, onStarted, stop)
    } finally {
      this.#usages.delete(task.id)
    }
  }

  async #runAnywhere(task: AgentTask, onStarted: () => void, stop: AbortSignal): Promise<Outcome> {
    if (!task.worktree) return this.#run(task, onStarted, stop)
    const run = async (failure: Failure | undefined): Promise<Outcome> => {
      if (stop.aborted && task.status === 'starting') return stopped(stop.reason as StopCause)
      if (failure) return failed(failure.reason, failure.message)
      // The preparation may have changed its place.
      return this.#run(this.#ports.store.now(task), onStarted, stop)
    }
    try {
      const { machines, worktrees } = this.#ports
      return await (await (task.place ? machines() : worktrees())).run(task, task.worktree, stop, run)
    } catch (error) {
      // Loading the bundle of worktrees fails if the package was replaced since the start.
      return failed('error', `no worktree could be made: ${errorText(error)}`)
    }
  }

  async #run(task: AgentTask, onStarted: () => void, stop: AbortSignal): Promise<Outcome> {
    const { sessionID } = task
    const run = new AgentRun(task, this.#ports, {
      startTimeoutMs: this.#options.startTimeoutMs,
      abort: () => this.#abort(sessionID),
      onStep: () => this.#ports.onStep(task.id),
      onOver: () => this.#forget(sessionID, run),
    })
    this.#usages.set(task.id, () => run.usage)
    // Register before the prompt is sent, so that no event is missed.
    this.#runs.set(sessionID, run)
    this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => {
      for (const [id, each] of this.#runs) {
        if (id in statuses) each.observeBusy()
        else each.check()
        this.#ports.onStep(each.taskID)
      }
    })
    if (task.status === 'starting') run.start(onStarted)
    else run.resume()
    const onStop = (): void => run.stop(stop.reason as StopCause)
    stop.addEventListener('abort', onStop)
    if (stop.aborted) onStop()
    const outcome = await run.outcome
    stop.removeEventListener('abort', onStop)
    return outcome
  }

  async recover(recorded: AgentTask, isTold: (task: EndedTask) => boolean): Promise<Recovered> {
    const { opencode } = this.#ports
    // Loaded lazily, because few starts find tasks of an earlier process.
    const { recovered } = await import('./recover-agent.ts')
    return recovered(recorded, isTold, {
      ...this.#ports,
      leftTurns: () => this.#leftTurns,
      answerOf: (task) => answerOf(opencode, task),
      abort: (sessionID) => this.#abort(sessionID),
    })
  }

  report(task: AgentTask, { messages = 0 }: ReportOptions): Promise<WorkReport> {
    return reportOf(this.#ports.opencode, task, messages, this.#runs.get(task.sessionID)?.summary)
  }

  isFinishing({ sessionID }: AgentTask): boolean {
    return this.#runs.get(sessionID)?.isFinishing ?? false
  }

  /**
   * Sends one more prompt to a running task, whose model reads it at its next step. Resolves with false if the run has ended
   * meanwhile; the turn of the prompt is then aborted. Rejects with a `HostError` if the session cannot have received it.
   */
  async steer(
    task: AgentTask,
    prompt: { readonly promptID: string; readonly text: string },
  ): Promise<boolean> {
    const { clock, log, opencode, store } = this.#ports
    const isAtWork = (): boolean => {
      const now = store.get(task.id)
      return now?.run === task.run && isActive(now)
    }
    try {
      await sendPrompt(opencode, task.sessionID, promptOf(task, prompt.promptID, prompt.text), isAtWork)
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'noAnswer') throw error
      log.warn(`${task.id}: ${error.message}; it may have been accepted, so the session is watched`)
    }
    const now = store.now(task)
    if (now.run !== task.run || !isEnded(now)) return true
    // Abort once the prompt is stored: its turn would run outside of the queue.
    await new Promise<void>((resolve) => {
      clock.after(STORED_WITHIN_MS, resolve)
    })
    await this.#abort(task.sessionID)
    return false
  }

  /** Returns the usage of the present run of a task so far; `undefined` if it has none. */
  usageOf(taskID: string): Usage | undefined {
    return this.#usages.get(taskID)?.()
  }

  /** Whether the newest message of a session at work is a final answer. */
  isAnswered(sessionID: string): boolean {
    return this.#runs.get(sessionID)?.isAnswered ?? true
  }

  /** Milliseconds since the last event of a session at work; `undefined` for any other session. */
  silentMs(sessionID: string): number | undefined {
    return this.#runs.get(sessionID)?.silentMs
  }

  /** How many answers in a row of a session at work had neither a known finish nor a tool call. */
  loopsOf(sessionID: string): number {
    return this.#runs.get(sessionID)?.loops ?? 0
  }

  /** Records an event of the session, or a part of an answer. */
  observeActivity(sessionID: string, part?: Part): void {
    this.#runs.get(sessionID)?.observeActivity(part)
  }

  observeStatus(sessionID: string, { type }: SessionStatus): void {
    const run = this.#runs.get(sessionID)
    run?.observeActivity()
    if (type === 'idle') run?.check()
    else run?.observeBusy()
  }

  observeError(sessionID: string, error: unknown): void {
    this.#runs.get(sessionID)?.observeError(errorText(error))
  }

  observeMessage(info: Message): void {
    this.#runs.get(info.sessionID)?.observeMessage(info)
  }

  observeSession(session: Session): void {
    this.#runs.get(session.id)?.observeSession(session)
  }

  observeDeleted(sessionID: string): void {
    this.#runs.get(sessionID)?.observeDeleted()
  }

  /** Observes that events were missed: OpenCode may have been restarted meanwhile. */
  observeGap(sessionIDs: Iterable<string> = this.#runs.keys()): void {
    for (const sessionID of sessionIDs) this.#runs.get(sessionID)?.observeGap()
  }

  /** Observes that OpenCode ends an instance, and the turns of its sessions with it. */
  observeInstanceEnd(sessionIDs: Iterable<string> = this.#runs.keys()): void {
    for (const sessionID of sessionIDs) this.#runs.get(sessionID)?.observeInstanceEnd()
  }

  /**
   * Aborts the turns of all runs but those on other machines, as OpenCode does before it ends an instance (contract 9.4). Never
   * rejects.
   */
  async abortAll(): Promise<void> {
    const here = [...this.#runs].filter(([, { isElsewhere }]) => !isElsewhere)
    await Promise.all(here.map(([sessionID]) => this.#abort(sessionID)))
  }

  /** Abandons all runs: their outcomes do not resolve any more. */
  dispose(): void {
    for (const run of this.#runs.values()) run.abandon()
    this.#runs.clear()
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }

  #forget(sessionID: string, run: AgentRun): void {
    if (this.#runs.get(sessionID) === run) this.#runs.delete(sessionID)
    if (this.#runs.size > 0) return
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }

  async #abort(sessionID: string): Promise<void> {
    // The next instance may have started a turn in this session.
    if (this.#ports.disposal.aborted) return
    try {
      await this.#ports.opencode.abort(sessionID)
    } catch (error) {
      // A run retries when the next event or poll shows the session busy.
      this.#ports.log.warn(`could not abort session ${sessionID}: ${errorText(error)}`)
    }
  }
}
