/**
 * Runs agents at the workers of a fleet. Their records are in local child sessions, as of any task; the conversation stays at the
 * worker. Loaded with the first task of a fleet.
 */
import type { Clock } from '../../clock.ts'
import type { Options } from '../../config.ts'
import type { Log } from '../../host/log.ts'
import { errorText, HostError, type Opencode } from '../../host/opencode.ts'
import { pause } from '../../pause.ts'
import type { TaskStore } from '../../task/store.ts'
import { NO_USAGE, type Outcome } from '../../task/state.ts'
import { isEnded, type AgentTask, type EndedTask, type Task } from '../../task/task.ts'
import { transition } from '../../task/transition.ts'
import { earlierEnds } from '../../work/agent/left-runs.ts'
import type { RunSummary } from '../../work/agent/transcript.ts'
import type { Recovered, ReportOptions, WorkReport } from '../../work/kind.ts'
import { failed, interrupted, stopped, timeLimit, type StopCause } from '../../work/outcome.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import { databaseURL } from '../database-url.ts'
import { readReport } from '../payload.ts'
import { CommitTaker } from './commit-taker.ts'
import { FleetRun, type EndedJob } from './fleet-run.ts'
import { hasWorktree, jobOf, type FleetTask } from './fleet-task.ts'
import { FollowedJobs } from './followed-jobs.ts'
import { outcomeOfJob } from './job-outcome.ts'
import type { Jobs, JobState } from './jobs.ts'
import { offerOf } from './offer.ts'
import { summary, summaryOfRun } from './run-summary.ts'

/** Opens the queue of a fleet. Rejects with an error that says what to do. */
export type OpenJobs = () => Promise<Jobs>

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Default: opens the database of the option `fleet.db`. */
  readonly openJobs: OpenJobs | undefined
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** How long a message waits for its job to be in the queue or its run to be over, and the interval between attempts. */
const SAY_MS = 60_000
const SAY_AGAIN_MS = 1000

export class FleetRuns {
  readonly #ports: Ports
  readonly #options: Pick<Options, 'fleet' | 'timeoutMs'>
  readonly #jobs: FollowedJobs
  /** The jobs that an earlier process has offered, and that are not followed yet. */
  readonly #recovered = new Set<string>()
  readonly #taker: CommitTaker

  constructor(ports: Ports, options: Pick<Options, 'fleet' | 'timeoutMs'>) {
    this.#ports = ports
    this.#options = options
    this.#taker = new CommitTaker(ports)
    this.#jobs = new FollowedJobs(ports, ports.openJobs ?? (() => openQueue(options.fleet.db)))
  }

  /** As `WorkKind.run`. */
  async run(task: AgentTask, onStarted: () => void, stop: AbortSignal): Promise<Outcome> {
    const { clock, disposal, log, opencode } = this.#ports
    if (!hasWorktree(task)) return failed('error', 'a task of a fleet has a worktree')
    const jobID = jobOf(task)
    let cancelLimit = (): void => {}
    let jobs: Jobs
    try {
      jobs = await this.#jobs.open()
    } catch (error) {
      return failed('error', `the fleet's queue cannot be used: ${errorText(error)}`)
    }
    const run = new FleetRun(
      { jobs, clock, disposal, log },
      {
        jobID,
        offer: this.#recovered.delete(jobID)
          ? undefined
          : () => offerOf(task, this.#options.fleet.remote, opencode),
        onPrompted: () => {
          onStarted()
          const { timeoutMs } = this.#options
          if (timeoutMs > 0) cancelLimit = clock.after(timeoutMs, () => run.stop(timeLimit(timeoutMs, task)))
        },
        onReport: ({ report }) => this.#observeReport(task, report),
      },
    )
    const onStop = (): void => run.stop(stop.reason as StopCause)
    stop.addEventListener('abort', onStop)
    if (stop.aborted) onStop()
    const over = await this.#jobs.follow(run)
    stop.removeEventListener('abort', onStop)
    cancelLimit()
    if ('refusal' in over)
      return run.cause
        ? stopped(run.cause)
        : failed('error', `it could not be offered to the fleet: ${over.refusal}`)
    const outcome = await this.#outcomeOf(task, over.job, run.cause, stop)
    await this.#leaveText(task, outcome.text)
    return outcome
  }

  /** As `WorkKind.recover`. */
  async recover(recorded: AgentTask, isTold: (task: EndedTask) => boolean): Promise<Recovered> {
    const earlier = earlierEnds(recorded, [])
    if (isEnded(recorded)) {
      const text = isTold(recorded) ? '' : await this.#textOf(recorded)
      return { task: recorded, ends: [...earlier, { task: recorded, text }] }
    }
    // The offer of an earlier process may still be on its way. The queue refuses it from here on, or has it by now.
    const isKnown = (await this.#stateOf(recorded)) !== undefined || (await this.#cancel(recorded))
    if (isKnown) {
      this.#recovered.add(jobOf(recorded))
      const started = transition(recorded, { type: 'slotTaken', at: recorded.createdAt }) ?? recorded
      return { task: started, ends: earlier }
    }
    const outcome = interrupted(recorded, false)
    const ended = transition(recorded, { type: 'ended', at: this.#ports.clock.now(), outcome }) as EndedTask &
      Task
    return { task: ended, ends: [...earlier, { task: ended, text: '' }] }
  }

  /** As `WorkKind.report`. The transcript stays at the worker. */
  async report(task: AgentTask, _: ReportOptions): Promise<WorkReport> {
    return { messages: [], transcript: await this.#summaryOf(task), output: undefined }
  }

  /** As `AgentRunner.steer`: the worker hands the message to the agent at its next sign of life. */
  async steer(
    task: AgentTask,
    { promptID, text }: { readonly promptID: string; readonly text: string },
  ): Promise<boolean> {
    const { clock, disposal, store } = this.#ports
    const until = clock.monotonic() + SAY_MS
    for (;;) {
      if (await this.#say(task, { id: promptID, text })) return true
      const now = store.get(task.id)
      if (!now || now.run !== task.run || isEnded(now)) return false
      // Its code is still being packed or has not reached the queue; or its run has ended, and its commits are not here yet.
      if (clock.monotonic() >= until) {
        const whyNot = this.#taker.whyNot(jobOf(task))
        throw new HostError(
          'refused',
          whyNot === undefined
            ? "the fleet's queue does not have the task yet"
            : `it has ended, and its commits wait in the fleet's queue: ${whyNot}`,
        )
      }
      await pause(clock, SAY_AGAIN_MS, [disposal])
      if (disposal.aborted) throw new HostError('refused', 'this OpenCode ends')
    }
  }

  /** Makes the queue forget a job once the parent knows its end and its commits were taken. */
  endWasTold(task: Task): void {
    this.#forget(task).catch((error: unknown) =>
      this.#ports.log.warn(`${jobOf(task)}: not acknowledged: ${errorText(error)}`),
    )
  }

  async #forget(task: Task): Promise<void> {
    const jobs = await this.#jobs.open()
    const { changes, worktree } = { changes: undefined, worktree: undefined, ...task }
    if (this.#taker.whyNot(jobOf(task)) !== undefined) return
    if (changes?.type === 'failed' && worktree) await this.#takeLate(jobs, task as FleetTask)
    await jobs.acknowledge(jobOf(task))
  }

  /** Takes the commits of a run that was stopped before they could be taken. Resolves when the queue need not keep them. */
  async #takeLate(jobs: Jobs, task: FleetTask): Promise<void> {
    const job = (await jobs.states([jobOf(task)])).get(jobOf(task))
    if (job?.type !== 'ended') return
    const changes = await this.#taker.take(task, job)
    if (changes?.type === 'committed')
      this.#ports.log.warn(`${task.id}: its commits were taken late: ${task.worktree.branch} has them`)
  }

  async #stateOf(task: AgentTask): Promise<JobState | undefined> {
    return (await this.#jobs.answered((jobs) => jobs.states([jobOf(task)]))).get(jobOf(task))
  }

  #cancel(task: AgentTask): Promise<boolean> {
    return this.#jobs.answered((jobs) => jobs.cancel(jobOf(task)))
  }

  #say(task: AgentTask, message: { readonly id: string; readonly text: string }): Promise<boolean> {
    return this.#jobs.answered((jobs) => jobs.say(jobOf(task), message))
  }

  /** Shows the permission requests of an agent like those of any child. */
  #observeReport(task: AgentTask, given: unknown): void {
    const { clock, store } = this.#ports
    const { questions = [] } = readReport(given) ?? {}
    const now = store.get(task.id)
    const open = now?.status === 'waiting' ? now.permissionRequests.map(({ id }) => id) : []
    for (const request of questions)
      if (!open.includes(request.id))
        store.dispatch(task.id, { type: 'permissionAsked', request, at: clock.now() })
    for (const requestID of open)
      if (!questions.some(({ id }) => id === requestID))
        store.dispatch(task.id, { type: 'permissionReplied', requestID, at: clock.now() })
  }

  async #outcomeOf(
    task: FleetTask,
    job: EndedJob,
    cause: StopCause | undefined,
    stop: AbortSignal,
  ): Promise<Outcome> {
    const changes = await this.#taker.take(task, job, stop)
    return { ...outcomeOfJob(job, cause), ...(changes && { changes }) }
  }

  /** Leaves the result in the task's own session, where a later process reads it. */
  async #leaveText({ id, sessionID }: AgentTask, text: string): Promise<void> {
    if (text === '') return
    await this.#ports.opencode.leaveMessage(sessionID, text).catch((error: unknown) => {
      this.#ports.log.warn(`${id}: its result could not be stored: ${errorText(error)}`)
    })
  }

  async #textOf({ sessionID }: AgentTask): Promise<string> {
    const [message] = await this.#ports.opencode.newestMessages(sessionID, 1)
    const texts = message?.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])) ?? []
    return texts.join('\n')
  }

  async #summaryOf(task: AgentTask): Promise<RunSummary | undefined> {
    const { clock } = this.#ports
    if (isEnded(task)) return summary(await this.#textOf(task), task.usage, undefined)
    const untaken = this.#taker.whyNot(jobOf(task))
    if (untaken !== undefined)
      return summary('', NO_USAGE, {
        what: `has ended; its commits wait in the fleet's queue: ${untaken}`,
        at: clock.now(),
      })
    return summaryOfRun(this.#jobs.runOf(jobOf(task)), clock.now())
  }
}

/** Opens the queue of the options. Its client is a bundle of its own. */
async function openQueue(place: string): Promise<Jobs> {
  const { openJobs } = await import('../postgres/postgres-fleet.ts')
  return openJobs(databaseURL(place))
}
