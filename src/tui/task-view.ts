/** A task as shown to people: its record, and later events of its session. Pure. */
import type { Part, PermissionRequest, Session, SessionStatus } from '@opencode-ai/sdk/v2'
import { STATUSES } from '../task/status.ts'
import type { TaskStatus } from '../task/state.ts'
import { isEnded, type AgentTask, type Task } from '../task/task.ts'
import type { Step } from '../task/step.ts'
import { tokensOf } from '../work/agent/usage.ts'
import { traitsOf } from '../work/kinds.ts'

/** A status as people see it: a starting task is a running one. */
export type Phase = Exclude<TaskStatus, 'starting'>

/** The state of a run that its record lacks. */
export interface Live {
  /** OpenCode's status of the session; idle where it reports none. */
  readonly status: SessionStatus
  /** When the run was first observed at work. */
  readonly begunAt?: number
  /** The latest activity, in a few words. */
  readonly activity?: string
  /** The ids of its tool calls so far: an event of the same call comes for each of its states. */
  readonly toolCallIDs?: ReadonlySet<string>
  /** The open permission requests, oldest first. */
  readonly permissionRequests: readonly PermissionRequest[]
}

export interface TaskView {
  readonly task: Task
  readonly phase: Phase
  readonly permissionRequests: readonly PermissionRequest[]
  /** The current activity; `undefined` where it is unknown, and after the end. */
  readonly activity: string | undefined
  /** Milliseconds since the Unix epoch; `undefined` before the run has begun. */
  readonly begunAt: number | undefined
  readonly endedAt: number | undefined
  /** The step of the newest end, maybe that of an earlier run. */
  readonly lastEnd: Transition | undefined
  /** The sum over all runs. */
  readonly tokens: number
  readonly cost: number
  /** The calls of the present run, because a record has only those of ended runs. */
  readonly toolCalls: number
}

type Transition = Extract<Step, { type: 'transition' }>

export const NOT_SEEN: Live = { status: { type: 'idle' }, permissionRequests: [] }

/** @param steps the newest steps of the task, as its record has them */
export function viewOf(task: Task, session: Session, live: Live, steps: readonly Step[]): TaskView {
  const phase = phaseOf(task, live)
  const ended = isEnded(task) ? task : undefined
  const begunAt = 'startedAt' in task ? task.startedAt : live.begunAt
  return {
    task,
    phase,
    permissionRequests: phase === 'waiting' ? live.permissionRequests : [],
    activity: ended ? undefined : activityOf(task, live),
    begunAt,
    endedAt: ended?.endedAt,
    lastEnd: steps.findLast(
      (step): step is Transition => step.type === 'transition' && step.event === 'ended',
    ),
    tokens: Math.max(session.tokens ? tokensOf(session.tokens) : 0, ended?.usage.tokens ?? 0),
    cost: Math.max(session.cost ?? 0, ended?.usage.cost ?? 0),
    toolCalls: ended ? 0 : (live.toolCallIDs?.size ?? 0),
  }
}

export function isUnfinished({ phase }: TaskView): boolean {
  return STATUSES[phase].stage !== 'ended'
}

/** Returns the activity that a message part shows; `undefined` for none. */
export function doing(part: Part, directory: string): string | undefined {
  switch (part.type) {
    case 'tool': {
      const { state, tool } = part
      const title = 'title' in state && state.title ? state.title : subjectOf(state.input)
      return [tool, title?.replaceAll(`${directory}/`, '')].filter(Boolean).join(' ')
    }
    case 'reasoning':
      return 'thinking'
    case 'text':
      // Parts of a prompt have no times.
      return part.text === '' || !part.time ? undefined : 'writing'
    default:
      return undefined
  }
}

/**
 * Returns the phase. An agent's record may stay `pending` until its end, unless a worktree is made for it: the session's
 * status decides.
 */
function phaseOf(task: Task, { status, begunAt, permissionRequests }: Live): Phase {
  if (isEnded(task)) return task.status
  if (permissionRequests.length > 0) return 'waiting'
  if (status.type !== 'idle' || begunAt !== undefined) return 'running'
  const isRecorded = !traitsOf(task).runsInSession || treeOf(task) !== undefined
  return isRecorded && task.status !== 'pending' ? 'running' : 'pending'
}

/** Returns the worktree of a task. */
export function treeOf(task: Task): AgentTask['worktree'] {
  return 'worktree' in task ? task.worktree : undefined
}

function activityOf(task: Task, { status, activity }: Live): string | undefined {
  if (status.type === 'retry') return `retrying: ${status.message}`
  const isPreparing = task.status === 'starting' && status.type === 'idle' && treeOf(task) !== undefined
  return activity ?? (isPreparing ? 'its worktree is prepared' : undefined)
}

/** Returns the argument that names the subject of a tool call. */
function subjectOf(input: Readonly<Record<string, unknown>>): string | undefined {
  return ['filePath', 'path', 'pattern', 'command', 'url', 'description']
    .map((name) => input[name])
    .find((value) => typeof value === 'string')
}
