/**
 * The states of a task, and the events that lead from one to the next.
 *
 *   pending → starting → running ⇄ waiting → completed | failed | cancelled
 *      └─────────┴─────────────────────────→ failed | cancelled
 *
 * `pending`: it waits for the tasks of its `after`, then for a slot. `starting`: it has a slot and is being prompted. `running`: it
 * was prompted. `waiting`: it continues when the user has answered its permission requests, which can arrive before the prompt
 * is acknowledged. The last three states end the run. Only the next run of the task leaves them, and begins as `pending`.
 *
 * Only `transition` defines this. It depends on the facts of a task, such as a prompt, and not on its kind of work. The store
 * dispatches events, and returns whether the event took effect.
 */
import { nextRun, type Budgeted } from './next-run.ts'
import type { Outcome, PermissionRequested, Started } from './state.ts'
import {
  isEnded,
  outlivesDefault,
  type CommandTask,
  type EndedTask,
  type PromptedWork,
  type Task,
  type UnfinishedTask,
} from './task.ts'
import type { TaskEvent } from './task-event.ts'
import type { Work } from '../work/work.ts'

type PendingTask = Extract<Task, { status: 'pending' }>

/** Returns the task after the event; `undefined` where the event came too late or too early (lost its race). */
export function transition(task: Task, event: TaskEvent): Task | undefined {
  switch (event.type) {
    case 'continued':
      return 'prompt' in task && isEnded(task) ? nextRun(task, event.next) : undefined
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
