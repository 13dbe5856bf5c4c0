/** A task as people see it: its record, and what the host tells of its session since. Pure. */
import type { Part, PermissionRequest, Session, SessionStatus } from '@opencode-ai/sdk/v2'
import { isEnded, type Task } from '../task/task.ts'

export type Phase = 'waiting' | 'running' | 'pending' | 'completed' | 'failed' | 'cancelled'

/** What is known of a run besides its record. */
export interface Live {
  /** The host's status of the session; idle where it has none. */
  readonly status: SessionStatus
  /** When the run was first seen at work. */
  readonly begunAt?: number
  /** What it did last, in a few words. */
  readonly activity?: string
  /** What it asks permission for, the oldest first. */
  readonly permissionRequests: readonly PermissionRequest[]
}

export interface TaskView {
  readonly task: Task
  readonly phase: Phase
  readonly permissionRequests: readonly PermissionRequest[]
  /** What it does just now; `undefined` where that is not known, and once it has ended. */
  readonly activity: string | undefined
  /** Milliseconds since the Unix epoch; `undefined` where it has not begun. */
  readonly begunAt: number | undefined
  readonly endedAt: number | undefined
  /** Of all runs together. */
  readonly tokens: number
  readonly cost: number
}

export const NOT_SEEN: Live = { status: { type: 'idle' }, permissionRequests: [] }

export function viewOf(task: Task, session: Session, live: Live): TaskView {
  const phase = phaseOf(task, live)
  const ended = isEnded(task) ? task : undefined
  const begunAt = 'startedAt' in task ? task.startedAt : live.begunAt
  return {
    task,
    phase,
    permissionRequests: phase === 'waiting' ? live.permissionRequests : [],
    activity: ended ? undefined : activityOf(live),
    begunAt,
    endedAt: ended?.endedAt,
    tokens: Math.max(tokensOf(session), ended?.usage.tokens ?? 0),
    cost: Math.max(session.cost ?? 0, ended?.usage.cost ?? 0),
  }
}

export function isUnfinished({ phase }: TaskView): boolean {
  return phase === 'waiting' || phase === 'running' || phase === 'pending'
}

/** What a part of a message says that its author does; `undefined` where it says nothing. */
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
      // What was said to it has no times.
      return part.text === '' || !part.time ? undefined : 'writing'
    default:
      return undefined
  }
}

/** The record of an agent says that it waits for its turn until it has ended: its session says more. */
function phaseOf(task: Task, { status, begunAt, permissionRequests }: Live): Phase {
  if (isEnded(task)) return task.status
  if (permissionRequests.length > 0) return 'waiting'
  if (status.type !== 'idle' || begunAt !== undefined) return 'running'
  return task.kind === 'command' && task.status !== 'pending' ? 'running' : 'pending'
}

function activityOf({ status, activity }: Live): string | undefined {
  return status.type === 'retry' ? `tries again: ${status.message}` : activity
}

/** What a tool is about, of all its arguments. */
function subjectOf(input: Readonly<Record<string, unknown>>): string | undefined {
  return ['filePath', 'path', 'pattern', 'command', 'url', 'description']
    .map((name) => input[name])
    .find((value) => typeof value === 'string')
}

function tokensOf({ tokens }: Session): number {
  if (!tokens) return 0
  return tokens.input + tokens.output + tokens.reasoning + tokens.cache.read + tokens.cache.write
}
