/** Runs agents, each in its child session, and routes the events and status polls of a session to its run. */
import { machineOf } from '../../task/place.ts'
import {
  errorText,
  HostError,
  type Message,
  type Part,
  type Session,
  type SessionStatus,
  type StoredMessage,
} from '../../host/opencode.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import type { StatusPoll } from '../../host/status-poll.ts'
import { NO_USAGE, type Failure, type Outcome, type Usage } from '../../task/state.ts'
import { isActive, isEnded, type AgentTask, type EndedTask } from '../../task/task.ts'
import type { Recovered, ReportOptions, WorkKind, WorkReport } from '../kind.ts'
import { failed, stopped, type StopCause } from '../outcome.ts'
import type { Queue } from '../queue.ts'
import { AgentRun, type AgentRunPorts } from './agent-run.ts'
import { promptOf, sendPrompt } from './prompt.ts'
import { readTranscript, transcriptOfNewest, type RunSummary, type Transcript } from './transcript.ts'

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
  #leftTurns: 'abort' | 'resume' = 'abort'
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
    const { clock, opencode } = this.#ports
    // Loaded lazily, because few starts find tasks of an earlier process.
    const { atWork, earlierEnds, endOf, reopened } = await import('./recover.ts')
    const isSettled = isEnded(recorded) && isTold(recorded)
    if (machineOf(recorded)?.sessionID !== undefined)
      return (await this.#ports.machines()).recover(recorded, isTold)
    if (isSettled && recorded.worktree) await (await this.#ports.worktrees()).moveFromMissing(recorded)
    // An instance records its tasks as interrupted when it ends, but their sessions may show another end.
    const task = isSettled ? recorded : reopened(recorded)
    const areToldToo = earlierEnds(recorded, []).every((earlier) => isTold(earlier.task))
    if (areToldToo && isEnded(task)) {
      // The messages can be long, and only an unreported end needs its text.
      const text = isSettled ? '' : (await this.#answerOf(task))?.text
      if (text !== undefined) return { task, ends: [...earlierEnds(task, []), { task, text }] }
    }
    const messages = await opencode.messages(recorded.sessionID)
    if (!isEnded(task) && this.#leftTurns === 'resume' && isNewestAsked(task, messages)) {
      // OpenCode reports a session in a worktree only where that is asked for.
      const exclude = task.worktree && opencode.include(task.worktree.directory)
      const isBusy = task.sessionID in (await opencode.statuses().finally(exclude))
      if (isBusy) return { task: atWork(task, messages, clock.now()), ends: earlierEnds(task, messages) }
    }
    const end = endOf(task, messages, clock.now())
    const ended = isEnded(task) || !end.worktree ? end : await (await this.#ports.worktrees()).recover(end)
    const { text } = readTranscript(messages, ended.promptIDs)
    return {
      task: ended,
      ends: [...earlierEnds(ended, messages), { task: ended, text }],
      ...(!isEnded(task) && { stopRest: () => this.#stopRest(ended, messages) }),
    }
  }

  /** Reports no messages before the first prompt, and none of a deleted session. */
  async report(task: AgentTask, { messages: count = 0 }: ReportOptions): Promise<WorkReport> {
    const isPrompted = task.status !== 'pending' || task.run > 1
    const messages = isPrompted && count > 0 ? await this.#messages(task.sessionID, count) : []
    const summary = this.#runs.get(task.sessionID)?.summary
    const transcript = summary ?? (isPrompted ? await this.#transcript(task) : undefined)
    return { messages, transcript, output: undefined }
  }

  /** Reads as few messages as show the run. */
  async #transcript(task: AgentTask): Promise<RunSummary | undefined> {
    if (isEnded(task)) {
      const transcript = await this.#answerOf(task)
      if (transcript) return { ...transcript, usage: task.usage }
    }
    const messages = await this.#messages(task.sessionID, Infinity)
    return messages.length > 0 ? readTranscript(messages, task.promptIDs) : undefined
  }

  /** Reads the end of an ended run from the newest message of its session; `undefined` if that does not show it. */
  async #answerOf({ sessionID, promptIDs }: AgentTask & EndedTask): Promise<Transcript | undefined> {
    if (promptIDs.length > 1) return undefined
    const [newest] = await this.#messages(sessionID, 1)
    return transcriptOfNewest(newest, promptIDs[0], { usage: NO_USAGE, steps: 0, text: undefined })
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

  /** Aborts a leftover turn: a prompt sent while its instance ended can start one afterwards (seen on the fake host). */
  async #stopRest(task: AgentTask, messages: readonly StoredMessage[]): Promise<void> {
    if (isNewestAsked(task, messages)) await this.#abort(task.sessionID)
  }

  async #messages(sessionID: string, count: number): Promise<readonly StoredMessage[]> {
    try {
      return await this.#ports.opencode.newestMessages(sessionID, count)
    } catch (error) {
      // The caller can retry after any other error.
      if (error instanceof HostError && error.reason === 'notFound') return []
      throw error
    }
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

/** Whether a turn in the session answers the task. Otherwise a person has started it since. */
function isNewestAsked({ promptIDs }: AgentTask, messages: readonly StoredMessage[]): boolean {
  const asked = messages.findLast(({ info }) => info.role === 'user')
  return !asked || promptIDs.includes(asked.info.id)
}
