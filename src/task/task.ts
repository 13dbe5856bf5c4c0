/**
 * A task: work that a session handed over and that goes on in the background.
 *
 *   pending → starting → running ⇄ waiting → completed | failed | cancelled
 *      └─────────┴─────────────────────────→ failed | cancelled
 *
 * `pending` waits for a slot, `starting` has one and is being prompted, `running` was prompted, `waiting` goes on when
 * the user has answered what it asks permission for, which can come before the prompt is acknowledged. The last three
 * end the run: nothing leaves them but a new run of the same task, which begins as `pending`. `transition` is the only
 * place that knows this; whoever wants to change a task sends an event through the store, and is told whether it won.
 * All times are milliseconds since the Unix epoch.
 */

/** The model that the work runs on, where it was chosen for it; `variant` is the host's word for reasoning effort. */
export interface TaskModel {
  readonly providerID: string
  readonly modelID: string
  readonly variant?: string
}

export interface TaskIdentity {
  /** `bg_` and 8 hexadecimal digits. */
  readonly id: string
  /** Counts the times that work was started in this session, from 1. */
  readonly run: number
  /** The child session: that in which an agent works, and the place of the record. */
  readonly sessionID: string
  /** The session that launched it, and that is told about its end. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
  /** When the run was asked for. */
  readonly createdAt: number
}

export interface AgentWork {
  readonly kind: 'agent'
  readonly agent: string
  /** Absent where the host is to choose. */
  readonly model?: TaskModel
  /** How many model calls its agent may make in a run; absent where there is no limit. */
  readonly maxSteps?: number
  /** The text that starts the run; '' once an answer shows that the session holds it. */
  readonly prompt: string
  /** The messages of ours that belong to the run: the one that starts it, and those that steered it since. */
  readonly promptIDs: readonly [string, ...string[]]
  /** Who asked for this run, where that was not the parent's model. */
  readonly askedBy?: 'user'
  /** How the runs before this one ended, the last few of them, the oldest first. */
  readonly earlier?: readonly EarlierRun[]
  /** What the runs before those have used together. */
  readonly usedBefore?: Usage
}

export interface CommandWork {
  readonly kind: 'command'
  /** The line that a shell is to run. */
  readonly command: string
  /** The path of that shell; absent where it is the user's own. */
  readonly shell?: string
  /** The directory in which it runs. */
  readonly cwd: string
  /** Milliseconds; 0: no limit. */
  readonly timeoutMs: number
  /** Whether nobody has asked for that limit: a command that proves to be a server outlives it, with none from then on. */
  readonly timeoutIsDefault?: boolean
  /** Whether its input stays open, with nothing in it; by default it is at its end. */
  readonly hasOpenInput?: boolean
  /** Texts of which the first that appears in the output is told, while the command goes on. */
  readonly notifyOn: readonly string[]
}

export type Work = AgentWork | CommandWork

/** What does not change while a task lives. */
export type TaskDefinition = TaskIdentity & Work

/** What is known of a task before its child session exists. */
export type Draft = Omit<TaskIdentity, 'sessionID'> & Work

/** What a run has consumed so far. */
export interface Usage {
  readonly toolCalls: number
  /** Input, output, reasoning and cache tokens of all its model calls together. */
  readonly tokens: number
  /** US dollars, as the host computes them. */
  readonly cost: number
}

/** How a process ended. */
export type Exit =
  | { readonly type: 'exited'; readonly code: number }
  /** By a signal, as `SIGKILL`. */
  | { readonly type: 'killed'; readonly signal: string }

/** A text of `notifyOn` that has appeared; without one, all that a command had left running has ended, and none has. */
export interface OutputMatch {
  readonly text?: string
  readonly at: number
}

/** A port on which a command was found to listen when its default time limit was over. */
export interface Listening {
  readonly port: number
  readonly at: number
}

/** What a child asks permission for, in the host's words. */
export interface PermissionRequested {
  readonly id: string
  readonly permission: string
  readonly patterns: readonly string[]
  /** When its parent was to be told that nobody has answered. */
  readonly unansweredAt?: number
}

export interface Failure {
  /**
   * `error`: the host, the model or the system said so; `empty`: an agent ended without a word or a tool call; `exit`: a
   * command ended with another code than 0, or by a signal; `output`: it wrote more than it may.
   */
  readonly reason: 'error' | 'timeout' | 'empty' | 'interrupted' | 'exit' | 'output'
  readonly message: string
}

/**
 * Why the text of an agent that completed is no whole answer. `noAnswer`: its last message says nothing, so that the text
 * was said before or beside a tool call; `length`: the model's output limit cut it off; `contentFilter`: the provider's
 * filter did; `noEnd`: it has a finish that is none of a normal end; `steps`: OpenCode had it stop, because it had used
 * up its agent's steps.
 */
export type Incomplete = 'noAnswer' | 'length' | 'contentFilter' | 'noEnd' | 'steps'

/**
 * How work ended. `text` is its result, or for other ends what it had said until then; of a command the last of its
 * output.
 */
export type Outcome = { readonly text: string; readonly usage: Usage; readonly exit?: Exit } & (
  | { readonly status: 'completed'; readonly incomplete?: Incomplete }
  | { readonly status: 'failed'; readonly failure: Failure }
  | { readonly status: 'cancelled'; readonly by: 'parent' | 'user' }
)

export interface Started {
  readonly startedAt: number
  readonly matched?: OutputMatch
  readonly listening?: Listening
}

export interface Ended {
  /** Absent where it ended before it had started. */
  readonly startedAt?: number
  readonly endedAt: number
  readonly usage: Usage
  /** Of a command that was started and is known to have ended. */
  readonly exit?: Exit
  readonly matched?: OutputMatch
  readonly listening?: Listening
}

export type End =
  | ({ readonly status: 'completed'; readonly incomplete?: Incomplete } & Ended)
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
      } & Started)
    | End
  )

export type EarlierRun = Pick<TaskIdentity, 'run' | 'createdAt'> & Pick<AgentWork, 'promptIDs'> & End

export type TaskStatus = Task['status']
export type EndedTask = Extract<Task, { status: 'completed' | 'failed' | 'cancelled' }>
export type UnfinishedTask = Exclude<Task, EndedTask>
export type AgentTask = Extract<Task, { kind: 'agent' }>
export type CommandTask = Extract<Task, { kind: 'command' }>

export type TaskEvent =
  | { readonly type: 'slotTaken'; readonly at: number }
  | { readonly type: 'prompted'; readonly at: number }
  /** More was said before the work began. */
  | { readonly type: 'appended'; readonly prompt: string }
  /** More was said while the work went on, in a message of ours. */
  | { readonly type: 'steered'; readonly promptID: string }
  /**
   * A text that was waited for has appeared in the output of a command, or cannot appear any more; only the first one
   * counts. It may come after the end, from what the command has left running.
   */
  | { readonly type: 'outputMatched'; readonly match: OutputMatch }
  /** The default time limit of a command is over, and it serves somebody. */
  | { readonly type: 'listening'; readonly listening: Listening }
  | { readonly type: 'permissionAsked'; readonly request: PermissionRequested }
  /** Nobody has answered for so long that the parent is to be told. */
  | { readonly type: 'permissionUnanswered'; readonly requestID: string; readonly at: number }
  | { readonly type: 'permissionReplied'; readonly requestID: string }
  | { readonly type: 'ended'; readonly at: number; readonly outcome: Outcome }
  /** More was said after the end: the next run is asked for. */
  | { readonly type: 'continued'; readonly next: NextRun }

export type NextRun = Pick<TaskIdentity, 'createdAt'> &
  Pick<AgentWork, 'prompt' | 'promptIDs'> &
  Partial<Pick<TaskIdentity, 'description'> & Pick<AgentWork, 'model' | 'askedBy'>>

/** How many ends of earlier runs a task keeps. */
const EARLIER_RUNS = 8

export const NO_USAGE: Usage = { toolCalls: 0, tokens: 0, cost: 0 }

/** What several runs have used together. */
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

/** What each of its runs has used that has ended; a command uses nothing. */
export function usagesOf(task: Task): Usage[] {
  const { earlier = [], usedBefore } = { earlier: undefined, usedBefore: undefined, ...task }
  const kept = earlier.map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...kept] : kept
  return isEnded(task) ? [...before, task.usage] : before
}

export function isEnded(task: Task): task is EndedTask {
  return task.status === 'completed' || task.status === 'failed' || task.status === 'cancelled'
}

/** True while the work holds a slot. */
export function isActive(task: Task): boolean {
  return task.status === 'starting' || task.status === 'running' || task.status === 'waiting'
}

/** The task after the event, or `undefined` where the event came too late or too early: it lost its race. */
export function transition(task: Task, event: TaskEvent): Task | undefined {
  const next = task.kind === 'agent' ? agentTransition(task, event) : commandTransition(task, event)
  if (next || isEnded(task)) return next
  switch (event.type) {
    case 'slotTaken':
      return task.status === 'pending' ? { ...task, status: 'starting', startedAt: event.at } : undefined
    case 'prompted':
      return task.status === 'starting' ? { ...task, status: 'running' } : undefined
    case 'permissionAsked':
      return asked(task, event.request)
    case 'permissionUnanswered':
      return unanswered(task, event.requestID, event.at)
    case 'permissionReplied':
      return replied(task, event.requestID)
    case 'ended':
      return ended(task, event.at, event.outcome)
    default:
      return undefined
  }
}

/** The events that only an agent has. */
function agentTransition(task: AgentTask, event: TaskEvent): Task | undefined {
  switch (event.type) {
    case 'appended':
      return task.status === 'pending' ? { ...task, prompt: `${task.prompt}\n\n${event.prompt}` } : undefined
    case 'steered':
      return task.status === 'running' || task.status === 'waiting'
        ? { ...task, promptIDs: [...task.promptIDs, event.promptID] }
        : undefined
    case 'continued':
      return isEnded(task) ? continued(task, event.next) : undefined
    default:
      return undefined
  }
}

/** The events that only a command has. */
function commandTransition(task: CommandTask, event: TaskEvent): Task | undefined {
  switch (event.type) {
    case 'outputMatched':
      return task.status === 'running' || isEnded(task) ? matched(task, event.match) : undefined
    case 'listening':
      return task.status === 'running' && !outlivesDefault(task)
        ? unlimited({ ...task, listening: event.listening })
        : undefined
    default:
      return undefined
  }
}

function matched(task: Extract<CommandTask, Started | Ended>, match: OutputMatch): Task | undefined {
  return task.matched ? undefined : unlimited({ ...task, matched: match })
}

/** A server runs on when its default limit is over: what is ready is one. */
function unlimited<Command extends CommandTask>(task: Command): Command {
  return task.timeoutIsDefault ? { ...task, timeoutMs: 0 } : task
}

/** Whether a command has proved to be a server, and so has no limit in place of the default one. */
export function outlivesDefault(work: Work): boolean {
  return isOpenEnded(work) && 'timeoutIsDefault' in work && (work.timeoutIsDefault ?? false)
}

/** Whether nothing ends a task but itself or a cancel, as with a server. */
export function isOpenEnded(work: Work): boolean {
  return 'timeoutMs' in work && work.timeoutMs === 0
}

function asked(task: UnfinishedTask, request: PermissionRequested): Task | undefined {
  // The host's answer to the prompt may be later than what comes of it.
  if (task.status === 'running' || task.status === 'starting')
    return { ...task, status: 'waiting', permissionRequests: [request] }
  if (task.status !== 'waiting' || task.permissionRequests.some(({ id }) => id === request.id))
    return undefined
  return { ...task, permissionRequests: [...task.permissionRequests, request] }
}

/** All that is asked by now is told with it. */
function unanswered(task: UnfinishedTask, requestID: string, at: number): Task | undefined {
  if (task.status !== 'waiting') return undefined
  const isUntold = ({ unansweredAt }: PermissionRequested): boolean => unansweredAt === undefined
  if (!task.permissionRequests.some((ask) => ask.id === requestID && isUntold(ask))) return undefined
  const [first, ...others] = task.permissionRequests.map((ask) =>
    isUntold(ask) ? { ...ask, unansweredAt: at } : ask,
  )
  return first && { ...task, permissionRequests: [first, ...others] }
}

function replied(task: UnfinishedTask, requestID: string): Task | undefined {
  if (task.status !== 'waiting') return undefined
  const { permissionRequests, ...rest } = task
  const [first, ...others] = permissionRequests.filter(({ id }) => id !== requestID)
  return first
    ? { ...rest, status: 'waiting', permissionRequests: [first, ...others] }
    : { ...rest, status: 'running' }
}

function continued(task: EndedTask & AgentWork, next: NextRun): Task {
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
    ...end
  } = task
  const ends = [...earlier, { run, ...end }]
  const dropped = ends.slice(0, -EARLIER_RUNS).map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...dropped] : dropped
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
  }
  return { ...same, ...next, run: run + 1, status: 'pending' }
}

function ended(task: UnfinishedTask, endedAt: number, outcome: Outcome): EndedTask | undefined {
  const { permissionRequests: _, ...rest } = { permissionRequests: undefined, ...task }
  const { usage, exit } = outcome
  const common = { ...rest, endedAt, usage, ...(exit && { exit }) }
  switch (outcome.status) {
    case 'completed':
      // Work that was never prompted has no result.
      if (task.status === 'pending') return undefined
      return {
        ...(isAnswered(common) ? { ...common, prompt: '' } : common),
        status: 'completed',
        ...(outcome.incomplete && { incomplete: outcome.incomplete }),
      }
    case 'failed':
      return { ...common, status: 'failed', failure: outcome.failure }
    case 'cancelled':
      return { ...common, status: 'cancelled', by: outcome.by }
  }
}

/** Whether a run that has completed answered its prompt: an answer to a steer says nothing of that. */
function isAnswered(work: Work): work is AgentWork {
  return 'promptIDs' in work && work.promptIDs.length === 1
}
