/** Words, signs and numbers for people. Pure. */
import { STATUSES } from '../../task/status.ts'
import type { MarkType, PhaseType, TaskTimeline } from '../session-timeline.ts'
import type { TaskStatus } from '../../task/state.ts'
import type { ToolType } from './task-drawing.ts'

export const PHASE_WORDS: Readonly<Record<PhaseType, string>> = {
  queued: 'waits for a slot or other tasks',
  working: 'works',
  permission: 'waits for a permission',
  retry: 'retried by the provider',
  unknown: 'not recorded',
}

export const MARK_WORDS: Readonly<Record<MarkType, string>> = {
  steered: 'steered',
  continued: 'continued',
  matched: 'output matched',
  noticed: 'parent notified',
  read: 'read by the parent',
}

export const TOOL_WORDS: Readonly<Record<ToolType, string>> = {
  read: 'reads',
  edit: 'edits',
  shell: 'runs a command',
  other: 'other',
}

/** `ended` statuses have a sign each; the others share one. */
export type EndType = 'done' | 'error' | 'cancelled' | 'unfinished'

export const END_TYPES: readonly EndType[] = ['done', 'error', 'cancelled', 'unfinished']

export const END_SIGNS: Readonly<Record<EndType, string>> = {
  done: '✓',
  error: '✕',
  cancelled: '■',
  unfinished: '▷',
}

export function endTypeOf({ status }: Pick<TaskTimeline, 'status'>): EndType {
  if (status === 'completed') return 'done'
  if (status === 'failed') return 'error'
  return status === 'cancelled' ? 'cancelled' : 'unfinished'
}

/** `done`, `timeout`, `cancelled`, `running`. */
export function wordOf(status: TaskStatus, reason?: string): string {
  return (status === 'failed' ? reason : undefined) ?? STATUSES[status].word
}

export function endWord({ status, runs }: Pick<TaskTimeline, 'status' | 'runs'>): string {
  return wordOf(status, runs.at(-1)?.reason)
}

const TIME = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const TIME_OF_DAY = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
})
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' })

/** `14:03:07`; `27 Nov, 14:03:07` if that is another day than the day of `dayOf`. */
export function timeOf(at: number, dayOf: number): string {
  const day = DAY.format(at)
  return day === DAY.format(dayOf) ? TIME.format(at) : `${day}, ${TIME.format(at)}`
}

/** Formats a time with its date. */
export function dateOf(at: number): string {
  return DATE.format(at)
}

/** Formats the tick of an axis: without seconds if they are 0, and as the day at midnight. */
export function tickOf(date: Date): string {
  if (date.getMilliseconds() !== 0) return `${TIME.format(date)}.${Math.floor(date.getMilliseconds() / 100)}`
  if (date.getSeconds() !== 0) return TIME.format(date)
  return date.getHours() === 0 && date.getMinutes() === 0 ? DAY.format(date) : TIME_OF_DAY.format(date)
}
