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

/** What does not change while a task lives. */
export interface TaskIdentity {
  /** `bg_` and 8 hexadecimal digits. */
  readonly id: string
  readonly kind: 'agent'
  /** Counts the times that work was started in this session, from 1. */
  readonly run: number
  /** The child session in which the work is done. */
  readonly sessionID: string
  /** The session that launched it, and that is told about its end. */
  readonly parentID: string
  readonly agent: string
  /** Absent where the host is to choose. */
  readonly model?: TaskModel
  /** Three to five words, for people. */
  readonly description: string
  /** The text that starts the run. */
  readonly prompt: string
  /** The messages of ours that belong to the run: the one that starts it, and those that steered it since. */
  readonly promptIDs: readonly [string, ...string[]]
  /** When the run was asked for. */
  readonly createdAt: number
  /** How the runs before this one ended, the last few of them, the oldest first. */
  readonly earlier?: readonly EarlierRun[]
}

/** What a run has consumed so far. */
export interface Usage {
  readonly toolCalls: number
  /** Input, output, reasoning and cache tokens of all its model calls together. */
  readonly tokens: number
  /** US dollars, as the host computes them. */
  readonly cost: number
}

/** What a child asks permission for, in the host's words. */
export interface Asked {
  readonly id: string
  readonly permission: string
  readonly patterns: readonly string[]
}

export interface Failure {
  /** `error`: the host or the model said so; `empty`: it ended without a word or a tool call. */
  readonly reason: 'error' | 'timeout' | 'empty' | 'interrupted'
  readonly message: string
}

/** How work ended. `text` is its result, or for other ends what it had said until then. */
export type Outcome = { readonly text: string; readonly usage: Usage } & (
  | { readonly status: 'completed' }
  | { readonly status: 'failed'; readonly failure: Failure }
  | { readonly status: 'cancelled'; readonly by: 'parent' | 'user' }
)

interface Started {
  readonly startedAt: number
}

interface Ended {
  /** Absent where it ended before it had started. */
  readonly startedAt?: number
  readonly endedAt: number
  readonly usage: Usage
}

type End =
  | ({ readonly status: 'completed' } & Ended)
  | ({ readonly status: 'failed'; readonly failure: Failure } & Ended)
  | ({ readonly status: 'cancelled'; readonly by: 'parent' | 'user' } & Ended)

export type Task = TaskIdentity &
  (
    | { readonly status: 'pending' }
    | ({ readonly status: 'starting' } & Started)
    | ({ readonly status: 'running' } & Started)
    | ({ readonly status: 'waiting'; readonly asks: readonly [Asked, ...Asked[]] } & Started)
    | End
  )

export type EarlierRun = Pick<TaskIdentity, 'run' | 'promptIDs' | 'createdAt'> & End

export type TaskStatus = Task['status']
export type EndedTask = Extract<Task, { status: 'completed' | 'failed' | 'cancelled' }>
export type UnfinishedTask = Exclude<Task, EndedTask>

export type TaskEvent =
  | { readonly type: 'slotTaken'; readonly at: number }
  | { readonly type: 'prompted'; readonly at: number }
  /** More was said before the work began. */
  | { readonly type: 'appended'; readonly prompt: string }
  /** More was said while the work went on, in a message of ours. */
  | { readonly type: 'steered'; readonly promptID: string }
  | { readonly type: 'asked'; readonly request: Asked }
  | { readonly type: 'replied'; readonly requestID: string }
  | { readonly type: 'ended'; readonly at: number; readonly outcome: Outcome }
  /** More was said after the end: the next run is asked for. */
  | { readonly type: 'continued'; readonly next: NextRun }

export type NextRun = Pick<TaskIdentity, 'prompt' | 'promptIDs' | 'createdAt'> &
  Partial<Pick<TaskIdentity, 'description' | 'model'>>

/** How many ends of earlier runs a task keeps. */
const EARLIER_RUNS = 8

export const NO_USAGE: Usage = { toolCalls: 0, tokens: 0, cost: 0 }

export function isEnded(task: Task): task is EndedTask {
  return task.status === 'completed' || task.status === 'failed' || task.status === 'cancelled'
}

/** True while the work holds a slot. */
export function isActive(task: Task): boolean {
  return task.status === 'starting' || task.status === 'running' || task.status === 'waiting'
}

/** The task after the event, or `undefined` where the event came too late or too early: it lost its race. */
export function transition(task: Task, event: TaskEvent): Task | undefined {
  if (isEnded(task)) return event.type === 'continued' ? continued(task, event.next) : undefined
  switch (event.type) {
    case 'slotTaken':
      return task.status === 'pending' ? { ...task, status: 'starting', startedAt: event.at } : undefined
    case 'prompted':
      return task.status === 'starting' ? { ...task, status: 'running' } : undefined
    case 'appended':
      return task.status === 'pending' ? { ...task, prompt: `${task.prompt}\n\n${event.prompt}` } : undefined
    case 'steered':
      return task.status === 'running' || task.status === 'waiting'
        ? { ...task, promptIDs: [...task.promptIDs, event.promptID] }
        : undefined
    case 'asked':
      return asked(task, event.request)
    case 'replied':
      return replied(task, event.requestID)
    case 'ended':
      return ended(task, event.at, event.outcome)
    case 'continued':
      return undefined
  }
}

function asked(task: UnfinishedTask, request: Asked): Task | undefined {
  // The host's answer to the prompt may be later than what comes of it.
  if (task.status === 'running' || task.status === 'starting')
    return { ...task, status: 'waiting', asks: [request] }
  if (task.status !== 'waiting' || task.asks.some(({ id }) => id === request.id)) return undefined
  return { ...task, asks: [...task.asks, request] }
}

function replied(task: UnfinishedTask, requestID: string): Task | undefined {
  if (task.status !== 'waiting') return undefined
  const { asks, ...rest } = task
  const [first, ...others] = asks.filter(({ id }) => id !== requestID)
  return first ? { ...rest, status: 'waiting', asks: [first, ...others] } : { ...rest, status: 'running' }
}

function continued(task: EndedTask, next: NextRun): Task {
  const {
    id,
    kind,
    run,
    sessionID,
    parentID,
    agent,
    model,
    description,
    prompt: _,
    earlier = [],
    ...end
  } = task
  const ends = [...earlier, { run, ...end }].slice(-EARLIER_RUNS)
  const same = { id, kind, sessionID, parentID, agent, description, earlier: ends, ...(model && { model }) }
  // What was never started has not heard its prompt either.
  const prompt = task.startedAt === undefined ? `${task.prompt}\n\n${next.prompt}` : next.prompt
  return { ...same, ...next, prompt, run: run + 1, status: 'pending' }
}

function ended(task: UnfinishedTask, endedAt: number, outcome: Outcome): EndedTask | undefined {
  const { asks: _, ...rest } = { asks: undefined, ...task }
  const common = { ...rest, endedAt, usage: outcome.usage }
  switch (outcome.status) {
    case 'completed':
      // Work that was never prompted has no result.
      return task.status === 'pending' ? undefined : { ...common, status: 'completed' }
    case 'failed':
      return { ...common, status: 'failed', failure: outcome.failure }
    case 'cancelled':
      return { ...common, status: 'cancelled', by: outcome.by }
  }
}
