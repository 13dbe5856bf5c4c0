/**
 * A task: work that a session delegated and that runs in the background.
 *
 *   pending → starting → running ⇄ waiting → completed | failed | cancelled
 *      └─────────┴─────────────────────────→ failed | cancelled
 *
 * `pending`: it waits for the tasks of its `after`, then for a slot. `starting`: it has a slot and is being prompted. `running`: it
 * was prompted. `waiting`: it continues when the user has answered its permission requests, which can arrive before the prompt
 * is acknowledged. The last three states end the run. Only the next run of the task leaves them, and begins as `pending`.
 *
 * Only `transition` defines this. It depends on the facts of a task, such as a prompt, and not on its kind of work. The store
 * dispatches events, and returns whether the event took effect. All times are milliseconds since the Unix epoch.
 */
import type { Work } from '../work/kinds.ts'
import { STATUSES } from './status.ts'

/** The model that was chosen for the work; `variant` is the host's name for reasoning effort. */
export interface TaskModel {
  readonly providerID: string
  readonly modelID: string
  readonly variant?: string
}

export interface TaskIdentity {
  /** `bg_` and 8 hexadecimal digits. */
  readonly id: string
  /** The ordinal of the task's run, from 1. */
  readonly run: number
  /** The child session, in which an agent works, and whose metadata holds the record. */
  readonly sessionID: string
  /** The session that launched the task and is notified of its end. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
  /** When the run was requested. */
  readonly createdAt: number
}

/** Work that reads prompts, also after its end. */
export type PromptedWork = Extract<Work, { readonly promptIDs: readonly string[] }>

/** A task without its state. */
export type TaskDefinition = TaskIdentity & Work

/** A task before its child session exists. */
export type Draft = Omit<TaskIdentity, 'sessionID'> & Work

/** The usage of a run so far. */
export interface Usage {
  readonly toolCalls: number
  /** The sum of input, output, reasoning and cache tokens of all model calls. */
  readonly tokens: number
  /** US dollars, as the host computes them. */
  readonly cost: number
}

/** Limits of what a task or a session may use; each may be absent. */
export interface Budget {
  /** US dollars. */
  readonly cost?: number
  /** The sum of input, output, reasoning and cache tokens of all model calls. */
  readonly tokens?: number
  readonly toolCalls?: number
  /** Minutes at work: without waits for a slot and for permissions. */
  readonly minutes?: number
}

/** The exit of a process. */
export type Exit =
  | { readonly type: 'exited'; readonly code: number }
  /** Killed by a signal, as `SIGKILL`. */
  | { readonly type: 'killed'; readonly signal: string }

/** A text of `notifyOn` that appeared. Without `text`, none can appear: the leftover processes ended. */
export interface OutputMatch {
  readonly text?: string
  readonly at: number
}

/** The matches of a command with `notifyEvery` as of its newest notice, which may not be read yet. */
export interface Monitored {
  /** How many lines of its output have matched. */
  readonly matches: number
  /** How many notices of them the run has had. */
  readonly notices: number
  /** When the newest one became due. */
  readonly at: number
}

/** A port on which a command listened when its default time limit was over. */
export interface Listening {
  readonly port: number
  readonly at: number
}

/**
 * The changes of a run in its worktree. `none`: no change, and the worktree is removed. `kept`: no change that a commit can
 * hold, but git does not remove the directory, as with ignored files. `committed`: the branch has all changes. `failed`: git
 * could not commit them; only the directory has them. `removed`: the user has had the worktree and its branch removed; a ref
 * keeps the commit.
 */
export type Changes =
  | { readonly type: 'none' }
  | { readonly type: 'kept'; readonly why: string }
  | {
      readonly type: 'committed'
      readonly commit: string
      /** Since the launch, as all numbers. */
      readonly commits: number
      readonly files: number
      readonly insertions: number
      readonly deletions: number
      /** The first changed paths. */
      readonly paths: readonly string[]
      /** The first paths that conflict with the parent's checkout as it was at the end; absent where that is not known. */
      readonly conflicts?: readonly string[]
      /** The ids of the first tasks of the session that have changed the same files, in branches that still exist. */
      readonly rivals?: readonly string[]
      /** Names files that the branch lacks, and only the directory has, such as those in a submodule. */
      readonly left?: string
    }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'removed'; readonly commit: string }

/**
 * The result of an apply or of its check. `clean`: the check found no conflict. `nothing`: the checkout already has all changes.
 * `conflicts`: nothing was written. `paths` are the paths in conflict for `conflicts`, otherwise the changed ones. `submodules`
 * have new commits, which an apply does not write.
 */
export interface Applied {
  readonly type: 'applied' | 'clean' | 'nothing' | 'conflicts'
  readonly paths: readonly string[]
  readonly submodules?: readonly string[]
}

/** A permission request of the child session, in the host's terms. */
export interface PermissionRequested {
  readonly id: string
  readonly permission: string
  readonly patterns: readonly string[]
  /** When the request had stayed unanswered for so long that the parent is notified. */
  readonly unansweredAt?: number
}

export interface Failure {
  /**
   * `error`: the host, the model or the system reported an error. `empty`: an agent ended without text or
   * tool call. `exit`: a command ended with a code other than 0, or by a signal. `output`: a command exceeded
   * its output limit. `budget`: an agent has spent its budget, or that of its session. `dependency`: a task for which
   * it waited failed or was cancelled, so that it never started.
   */
  readonly reason: 'error' | 'timeout' | 'empty' | 'interrupted' | 'exit' | 'output' | 'budget' | 'dependency'
  readonly message: string
}

/**
 * Why the text of a completed agent is not a complete answer. `noAnswer`: the last message has no text, so
 * that the text precedes or accompanies a tool call. `length`: the model's output limit cut the answer.
 * `contentFilter`: the provider's filter cut it. `noEnd`: its finish reason is not a normal end. `steps`:
 * OpenCode told the agent to stop, because it had used up its steps.
 */
export type Incomplete = 'noAnswer' | 'length' | 'contentFilter' | 'noEnd' | 'steps'

/** The facts of a completed run besides its text. */
export interface Answered {
  readonly incomplete?: Incomplete
  /** The question to the parent that ends the answer of an agent: the next run of the task goes on with the reply. */
  readonly question?: string
}

/**
 * The end of a run. `text` is the result of an agent that completed, otherwise its last text; of a command
 * the end of its output.
 */
export type Outcome = {
  readonly text: string
  readonly usage: Usage
  readonly exit?: Exit
  readonly changes?: Changes
} & (
  | ({ readonly status: 'completed' } & Answered)
  | { readonly status: 'failed'; readonly failure: Failure }
  | { readonly status: 'cancelled'; readonly by: 'parent' | 'user' }
)

export interface Started {
  readonly startedAt: number
  /** How long the run has waited for permissions, in milliseconds, without the present wait; absent for no wait. */
  readonly waitedMs?: number
  /** Since when the machine of the task has not answered; absent while it does. */
  readonly lostAt?: number
  readonly matched?: OutputMatch
  readonly listening?: Listening
  readonly monitored?: Monitored
}

export interface Ended {
  /** Absent where the run ended before it started. */
  readonly startedAt?: number
  readonly endedAt: number
  /** How long the run waited for permissions, in milliseconds; absent for no wait. */
  readonly waitedMs?: number
  readonly usage: Usage
  /** The exit of a command that was started and is known to have ended. */
  readonly exit?: Exit
  /** Absent without a worktree, and where the run ended before that was made. */
  readonly changes?: Changes
  readonly matched?: OutputMatch
  readonly listening?: Listening
  readonly monitored?: Monitored
}

export type End =
  | ({ readonly status: 'completed' } & Answered & Ended)
  | ({ readonly status: 'failed'; readonly failure: Failure } & Ended)
  | ({ readonly status: 'cancelled'; readonly by: 'parent' | 'user' } & Ended)

export type Task = TaskDefinition &
  (
    | { readonly status: 'pending' }
    | ({ readonly status: 'starting' } & Started)
    | ({ readonly status: 'running' } & Started)
    | ({
        readonly status: 'waiting'
        readonly permissionRequests: readonly [PermissionRequested, ...PermissionRequested[]]
        /** When the present wait began; absent in the record of an older version. */
        readonly waitingSince?: number
      } & Started)
    | End
  )

type PendingTask = Extract<Task, { status: 'pending' }>

export type TaskStatus = Task['status']
export type EndedTask = Extract<Task, Ended>
export type UnfinishedTask = Exclude<Task, EndedTask>
export type AgentTask = Extract<Task, { kind: 'agent' }>
export type CommandTask = Extract<Task, { kind: 'command' }>

export type TaskEvent =
  | { readonly type: 'slotTaken'; readonly at: number }
  | { readonly type: 'prompted'; readonly at: number }
  /** A prompt was added before the run began, and maybe a budget. */
  | ({ readonly type: 'appended'; readonly prompt: string } & Budgeted)
  /** All tasks of `after` have completed: their results join the prompt, and the task may be queued. */
  | { readonly type: 'released'; readonly results: string; readonly worktree?: Worktree }
  /** A message of the plugin steered the run. `why`: the message says that a budget is nearly spent. */
  | ({ readonly type: 'steered'; readonly promptID: string; readonly why?: 'budget' } & Budgeted)
  /**
   * A `notifyOn` text appeared in the output of a command, or none can appear any more. Only the first match
   * counts; it may come from leftover processes, after the end.
   */
  | { readonly type: 'outputMatched'; readonly match: OutputMatch }
  /** A notice of matching lines is due. */
  | { readonly type: 'monitored'; readonly monitored: Monitored }
  /** The default time limit of a command is over, and the command listens on a port. */
  | { readonly type: 'listening'; readonly listening: Listening }
  /** The session on the machine exists, and is not prompted yet. */
  | { readonly type: 'placed'; readonly sessionID: string; readonly directory: string; readonly url: string }
  /** The machine has not answered since `at`. */
  | { readonly type: 'contactLost'; readonly at: number }
  | { readonly type: 'contactFound' }
  | { readonly type: 'permissionAsked'; readonly request: PermissionRequested; readonly at: number }
  /** A permission request stayed unanswered for so long that the parent is notified. */
  | { readonly type: 'permissionUnanswered'; readonly requestID: string; readonly at: number }
  | { readonly type: 'permissionReplied'; readonly requestID: string; readonly at: number }
  | { readonly type: 'ended'; readonly at: number; readonly outcome: Outcome }
  /** The user has had the worktree and the branch of an ended task removed. */
  | { readonly type: 'treeRemoved'; readonly commit: string }
  /** A prompt after the end requested the next run. */
  | { readonly type: 'continued'; readonly next: NextRun }

type Worktree = NonNullable<PromptedWork['worktree']>

export type NextRun = Pick<TaskIdentity, 'createdAt'> &
  Pick<PromptedWork, 'prompt' | 'promptIDs'> &
  Partial<Pick<TaskIdentity, 'description'> & Pick<PromptedWork, 'model' | 'askedBy'>> &
  Budgeted

/** `budget`: the new budget of the task over all of its runs; absent if the prompt adds none. */
type Budgeted = Pick<PromptedWork, 'budget'>

/** How many ends of earlier runs a task stores. */
const EARLIER_RUNS = 8

export const NO_USAGE: Usage = { toolCalls: 0, tokens: 0, cost: 0 }

/** Returns the sum of several usages. */
export function usedTogether(usages: readonly Usage[]): Usage {
  return usages.reduce(
    (all, { toolCalls, tokens, cost }) => ({
      toolCalls: all.toolCalls + toolCalls,
      tokens: all.tokens + tokens,
      cost: all.cost + cost,
    }),
    NO_USAGE,
  )
}

/** Returns the usages of a task's ended runs, with those before `earlier` as one sum. */
export function usagesOf(task: Task): Usage[] {
  const { earlier = [], usedBefore } = { earlier: undefined, usedBefore: undefined, ...task }
  const kept = earlier.map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...kept] : kept
  return isEnded(task) ? [...before, task.usage] : before
}

/** The times of a run, as far as they are known. */
type Times = Pick<Task, 'status'> &
  Partial<Pick<Started, 'startedAt' | 'waitedMs'> & Pick<Ended, 'endedAt'>> & {
    readonly waitingSince?: number
  }

/** Returns how long a run was at work by `now`, in milliseconds: without its waits for a slot and for permissions. */
export function workedMsOf({ startedAt, endedAt, waitedMs = 0, waitingSince }: Times, now: number): number {
  if (startedAt === undefined) return 0
  const until = endedAt ?? waitingSince ?? now
  return Math.max(0, until - startedAt - waitedMs)
}

/** Returns how long the ended runs of an agent were at work, in milliseconds; 0 for a command. */
export function workedMsBefore(task: Task): number {
  if (!('promptIDs' in task)) return 0
  const { earlier = [], workedBeforeMs = 0 } = task
  const runs = isEnded(task) ? [...earlier, task] : earlier
  return runs.reduce((sum, run) => sum + workedMsOf(run, run.endedAt), workedBeforeMs)
}

export function isEnded(task: Task): task is EndedTask {
  return STATUSES[task.status].stage === 'ended'
}

/** How many cut-off runs of a task the option `afterRestart` continues. */
const CONTINUED_RUNS = 2

/** Whether a run ended because its host stopped. */
export function isCutOff(end: Task | EarlierRun): boolean {
  return end.status === 'failed' && end.failure.reason === 'interrupted'
}

/** Whether a cut-off task is not continued any more, because restarts have cut off too many of its runs. */
export function isCutOffTooOften(task: Task): boolean {
  const { earlier = [] } = { earlier: undefined, ...task }
  return [...earlier, task].filter(isCutOff).length > CONTINUED_RUNS
}

/** Returns the question to its parent that a task has ended with; `undefined` for none. */
export function questionOf(task: Task): string | undefined {
  return task.status === 'completed' ? task.question : undefined
}

/** Whether the machine of an unfinished task does not answer. */
export function isLost(task: Task): boolean {
  return 'lostAt' in task
}

/** Whether the task holds a slot. */
export function isActive(task: Task): boolean {
  return STATUSES[task.status].stage === 'active'
}

/** Returns the task after the event; `undefined` where the event came too late or too early (lost its race). */
export function transition(task: Task, event: TaskEvent): Task | undefined {
  switch (event.type) {
    case 'continued':
      return 'prompt' in task && isEnded(task) ? continued(task, event.next) : undefined
    case 'outputMatched':
      if (!('notifyOn' in task && (task.status === 'running' || isEnded(task)))) return undefined
      return task.matched ? undefined : unlimited({ ...task, matched: event.match })
    case 'treeRemoved':
      return 'worktree' in task && isEnded(task)
        ? { ...task, changes: { type: 'removed', commit: event.commit } }
        : undefined
    default:
      return isEnded(task) ? undefined : progressed(task, event)
  }
}

function progressed(
  task: UnfinishedTask,
  event: Exclude<TaskEvent, { type: 'continued' | 'outputMatched' | 'treeRemoved' }>,
): Task | undefined {
  switch (event.type) {
    case 'slotTaken':
      return task.status === 'pending'
        ? { ...withoutAfter(task), status: 'starting', startedAt: event.at }
        : undefined
    case 'prompted':
      return task.status === 'starting' ? { ...task, status: 'running' } : undefined
    case 'appended':
      return 'prompt' in task && task.status === 'pending'
        ? { ...task, prompt: `${task.prompt}\n\n${event.prompt}`, ...budgeted(event) }
        : undefined
    case 'released':
      return 'after' in task && task.status === 'pending' ? released(task, event) : undefined
    case 'steered':
      return 'promptIDs' in task && canBeSteered(task)
        ? { ...task, promptIDs: [...task.promptIDs, event.promptID], ...budgeted(event) }
        : undefined
    case 'monitored':
      return 'notifyOn' in task && task.status === 'running'
        ? { ...task, monitored: event.monitored }
        : undefined
    case 'listening':
      return 'timeoutMs' in task && task.status === 'running' && !outlivesDefault(task)
        ? unlimited({ ...task, listening: event.listening })
        : undefined
    case 'placed': {
      const { type: _, ...place } = event
      return task.status === 'starting' && 'place' in task && task.place?.type === 'machine'
        ? { ...task, place: { ...task.place, ...place } }
        : undefined
    }
    case 'contactLost':
      return task.status === 'pending' || task.lostAt !== undefined
        ? undefined
        : { ...task, lostAt: event.at }
    case 'contactFound':
      return task.status === 'pending' || task.lostAt === undefined ? undefined : found(task)
    case 'permissionAsked':
      return asked(task, event.request, event.at)
    case 'permissionUnanswered':
      return unanswered(task, event.requestID, event.at)
    case 'permissionReplied':
      return replied(task, event.requestID, event.at)
    case 'ended':
      return ended(task, event.at, event.outcome)
  }
}

function found<Lost extends { readonly lostAt?: number }>(task: Lost): Lost {
  const { lostAt: _, ...rest } = task
  return rest as Lost
}

/** Whether a run reads prompts: also one that waits for a worker of a fleet, which hands them over with the job. */
function canBeSteered({ status, place }: PromptedWork & Pick<Task, 'status'>): boolean {
  return status === 'running' || status === 'waiting' || (status === 'starting' && place?.type === 'fleet')
}

function budgeted({ budget }: Budgeted): Budgeted {
  return budget ? { budget } : {}
}

/** Adds the results to the prompt, so that a later process and a later run find both in the record. */
function released(
  task: PromptedWork & PendingTask,
  { results, worktree }: Extract<TaskEvent, { type: 'released' }>,
): Task {
  return {
    ...withoutAfter(task),
    prompt: `${task.prompt}\n\n${results}`,
    ...(worktree && { worktree }),
  }
}

/** A run that has started had its results, also if the record of its release was not written. */
function withoutAfter<Pending extends PendingTask>(task: Pending): Omit<Pending, 'after'> & PendingTask {
  const { after, ...rest } = { after: undefined, ...task }
  return { ...rest, ...(after && { waitedFor: after }) } as Omit<Pending, 'after'> & PendingTask
}

/** Removes a default time limit, because a command that is ready is a server. */
function unlimited<Command extends CommandTask>(task: Command): Command {
  return task.timeoutIsDefault ? { ...task, timeoutMs: 0 } : task
}

/** Whether a command proved to be a server, so that its default time limit was removed. */
export function outlivesDefault(work: Work): boolean {
  return isOpenEnded(work) && 'timeoutIsDefault' in work && (work.timeoutIsDefault ?? false)
}

/** Whether a command has no time limit, as a server. */
export function isOpenEnded(work: Work): boolean {
  return 'timeoutMs' in work && work.timeoutMs === 0
}

function asked(task: UnfinishedTask, request: PermissionRequested, at: number): Task | undefined {
  // The child session may request a permission before the host acknowledges the prompt.
  if (task.status === 'running' || task.status === 'starting')
    return { ...task, status: 'waiting', permissionRequests: [request], waitingSince: at }
  if (task.status !== 'waiting' || task.permissionRequests.some(({ id }) => id === request.id))
    return undefined
  return { ...task, permissionRequests: [...task.permissionRequests, request] }
}

/** Marks all requests that are open by now, because one notice reports them. */
function unanswered(task: UnfinishedTask, requestID: string, at: number): Task | undefined {
  if (task.status !== 'waiting') return undefined
  const isUntold = ({ unansweredAt }: PermissionRequested): boolean => unansweredAt === undefined
  if (!task.permissionRequests.some((ask) => ask.id === requestID && isUntold(ask))) return undefined
  const [first, ...others] = task.permissionRequests.map((ask) =>
    isUntold(ask) ? { ...ask, unansweredAt: at } : ask,
  )
  return first && { ...task, permissionRequests: [first, ...others] }
}

function replied(task: UnfinishedTask, requestID: string, at: number): Task | undefined {
  if (task.status !== 'waiting') return undefined
  const { permissionRequests, waitingSince: _, ...rest } = task
  const [first, ...others] = permissionRequests.filter(({ id }) => id !== requestID)
  return first
    ? { ...task, permissionRequests: [first, ...others] }
    : { ...rest, status: 'running', ...waitedBy(task, at) }
}

/** Returns the time that a run has waited for permissions, with the present wait. */
function waitedBy(task: UnfinishedTask, at: number): Pick<Started, 'waitedMs'> {
  const { waitedMs, waitingSince } = { waitedMs: 0, waitingSince: undefined, ...task }
  const total = waitedMs + (waitingSince === undefined ? 0 : Math.max(0, at - waitingSince))
  return total > 0 ? { waitedMs: total } : {}
}

type EarlierRun = NonNullable<PromptedWork['earlier']>[number]

function continued(task: EndedTask & PromptedWork, next: NextRun): Task {
  const {
    id,
    kind,
    run,
    sessionID,
    parentID,
    agent,
    model,
    maxSteps,
    description,
    prompt: _prompt,
    askedBy: _askedBy,
    earlier = [],
    usedBefore,
    workedBeforeMs = 0,
    budget,
    worktree,
    place,
    after,
    waitedFor,
    ...rest
  } = task
  // The end gets the remaining fields: the compiler names a field that an end does not have.
  type Surplus = Exclude<keyof typeof rest, keyof EarlierRun>
  const ends = [...earlier, { run, ...(rest satisfies { readonly [Key in Surplus]?: never }) }]
  const dropped = ends.slice(0, -EARLIER_RUNS)
  const usages = dropped.map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...usages] : usages
  const workedMs = dropped.reduce((sum, end) => sum + workedMsOf(end, end.endedAt), workedBeforeMs)
  const same = {
    id,
    kind,
    sessionID,
    parentID,
    agent,
    description,
    earlier: ends.slice(-EARLIER_RUNS),
    ...(model && { model }),
    ...(maxSteps !== undefined && { maxSteps }),
    ...(before.length > 0 && { usedBefore: usedTogether(before) }),
    ...(workedMs > 0 && { workedBeforeMs: workedMs }),
    ...(budget && { budget }),
    ...(worktree && { worktree }),
    ...(place && { place }),
    // The run that ended was never released, so that its prompt lacks the results.
    ...(after && { after }),
    ...(waitedFor && { waitedFor }),
  }
  return { ...same, ...next, run: run + 1, status: 'pending' }
}

function ended(task: UnfinishedTask, endedAt: number, outcome: Outcome): EndedTask | undefined {
  const { usage, exit, changes } = outcome
  const {
    permissionRequests: _requests,
    waitingSince: _since,
    lostAt: _lost,
    ...rest
  } = { permissionRequests: undefined, waitingSince: undefined, lostAt: undefined, ...task }
  const common = {
    ...rest,
    ...waitedBy(task, endedAt),
    endedAt,
    usage,
    ...(exit && { exit }),
    ...(changes && { changes }),
  }
  switch (outcome.status) {
    case 'completed':
      // Work that was never prompted has no result.
      if (task.status === 'pending') return undefined
      return {
        ...(isAnswered(common) ? { ...common, prompt: '' } : common),
        status: 'completed',
        ...(outcome.incomplete && { incomplete: outcome.incomplete }),
        ...(outcome.question !== undefined && { question: outcome.question }),
      }
    case 'failed':
      return { ...common, status: 'failed', failure: outcome.failure }
    case 'cancelled':
      return { ...common, status: 'cancelled', by: outcome.by }
  }
}

/** Whether a completed run answered its prompt: after a steer, the answer may be to the steer alone. */
function isAnswered(work: Work): work is PromptedWork {
  return 'promptIDs' in work && work.promptIDs.length === 1
}
