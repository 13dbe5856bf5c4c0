/** The notices of a parent, and the keys that identify them. Pure. */
import type { Listening, Monitored, OutputMatch, PermissionRequested } from '../task/state.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'

/**
 * A notice reports to a parent the end of a run with its text, a `notify_on` text in the output of a command,
 * a command that outlives its default time limit, or a permission request that nobody answers.
 */
export type Notice =
  | EndNotice
  | { readonly task: Task; readonly match: OutputMatch }
  | MatchesNotice
  | { readonly task: Task; readonly listening: Listening }
  | { readonly task: Task; readonly unanswered: readonly PermissionRequested[]; readonly at: number }

/** `lines`: its text, once it was taken to be sent. */
export interface MatchesNotice {
  readonly task: Task
  readonly monitored: Monitored
  readonly lines?: string
}

export interface EndNotice {
  readonly task: EndedTask
  readonly text: string
}

/** The notices that a run can have, one of each at a time. */
export const NOTICE_TYPES = ['ended', 'matched', 'monitored', 'listening', 'unanswered'] as const

/** Returns the key that identifies a notice, however often the notice is created. */
export function keyOf({ id, run }: Pick<Task, 'id' | 'run'>, type: (typeof NOTICE_TYPES)[number]): string {
  return `${id} ${run} ${type}`
}

export function noticeKey(notice: Notice): string {
  if (isEndNotice(notice)) return keyOf(notice.task, 'ended')
  if ('match' in notice) return keyOf(notice.task, 'matched')
  if ('monitored' in notice) return keyOf(notice.task, 'monitored')
  return keyOf(notice.task, 'listening' in notice ? 'listening' : 'unanswered')
}

/** Returns the key of a notice in its message: a run can have several notices of matching lines, one after another. */
export function sentKey(notice: Notice): string {
  const key = noticeKey(notice)
  return 'monitored' in notice ? `${key} ${notice.monitored.notices}` : key
}

export function isEndNotice(notice: Notice): notice is EndNotice {
  return 'text' in notice
}

/** Returns the notices that a parent is owed about a command besides the notice of its end. */
export function noticesBesideEnd(task: Task): Notice[] {
  const { matched, listening } = { matched: undefined, listening: undefined, ...task }
  // The notice of an end supersedes earlier notices.
  const isOwed = (found: { readonly at: number } | undefined): boolean =>
    found !== undefined && !(isEnded(task) && found.at <= task.endedAt)
  return [
    ...(matched && isOwed(matched) ? [{ task, match: matched }] : []),
    ...(listening && isOwed(listening) ? [{ task, listening }] : []),
  ]
}

/** Returns when the reported event happened. */
export function noticedAt(notice: Notice): number {
  if (isEndNotice(notice)) return notice.task.endedAt
  if ('match' in notice) return notice.match.at
  if ('monitored' in notice) return notice.monitored.at
  return 'listening' in notice ? notice.listening.at : notice.at
}

/** Returns the key of a notice that is piggybacked on the user's message. */
export function piggybackKey(key: string): string {
  return `${key} with the user's message`
}
