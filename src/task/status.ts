/**
 * The statuses of a task, and what each means to the rooms that show or count tasks. `state.ts` has their shapes,
 * and `transition.ts` defines how a task gets from one to the next.
 */
import type { TaskStatus } from './state.ts'

interface Status {
  /** `queued`: without a slot. `active`: it holds one. `ended`: the run is over. */
  readonly stage: 'queued' | 'active' | 'ended'
  /** The filter of `list_background` that shows it. */
  readonly group: Group
  readonly sign: string
  /** In the list. */
  readonly word: string
  /** In answers about a command. */
  readonly commandWord: string
}

export type Group = 'running' | 'done' | 'error'

const RUNNING: Status = {
  stage: 'active',
  group: 'running',
  sign: '⏳',
  word: 'running',
  commandWord: 'running',
}

export const STATUSES: Readonly<Record<TaskStatus, Status>> = {
  pending: { ...RUNNING, stage: 'queued', word: 'pending', commandWord: 'pending' },
  starting: RUNNING,
  running: RUNNING,
  waiting: { ...RUNNING, sign: '✋', word: 'waiting' },
  completed: { stage: 'ended', group: 'done', sign: '✅', word: 'done', commandWord: '**DONE**' },
  failed: { stage: 'ended', group: 'error', sign: '❌', word: 'error', commandWord: '**ERROR**' },
  cancelled: { stage: 'ended', group: 'error', sign: '🛑', word: 'cancelled', commandWord: '**KILLED**' },
}
