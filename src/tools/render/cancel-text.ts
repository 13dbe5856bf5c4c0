/** Renders the answer of a tool that stops tasks. Pure. */
import { formatDuration } from '../../text/format.ts'
import { nameForModel } from '../../text/sanitize.ts'
import { isEnded, type Task } from '../../task/task.ts'
import type { Guidance } from '../notice-guidance.ts'
import { codeSpan } from './command-text.ts'

/** A task that the call was to stop. */
export interface Cancelled {
  /** Its state after the call. */
  readonly task: Task
  /** Whether it had ended before the call, which then killed its leftover processes, if there were any. */
  readonly hadEnded: boolean
  readonly leftovers: 'none' | 'killed' | 'alive'
}

/** The tasks of a call. `isAlone`: it was about one task, and its answer has room for details. */
export interface CancelAnswer {
  readonly isAlone: boolean
  readonly tasks: readonly Cancelled[]
}

export function cancelText({ isAlone, tasks }: CancelAnswer, guidance: Guidance): string {
  if (tasks.length === 0) return 'There was nothing to stop.'
  return tasks.map((each) => textOf(each, isAlone, guidance)).join('\n')
}

function textOf({ task, hadEnded, leftovers }: Cancelled, isAlone: boolean, guidance: Guidance): string {
  if (hadEnded) return `${task.id} had ended already (${task.status}). ${LEFTOVERS[leftovers]}`
  const named = `${task.id} (${nameForModel(task.description)})`
  if (!isEnded(task))
    return `${named} could not be reached: there is no contact with its machine. It is stopped as soon as the machine answers.`
  if (task.status !== 'cancelled') {
    return `${named} ended before it could be stopped: ${task.status}. ${guidance.afterEnd(task.id)}`
  }
  const after =
    task.startedAt === undefined
      ? 'before it had started'
      : `after ${formatDuration(task.endedAt - task.startedAt)}`
  const isAlive = leftovers === 'alive'
  if (!('command' in task) || (!isAlone && !isAlive)) return `${named} was cancelled ${after}.`
  const killed = isAlive
    ? `⚠️ Task \`${task.id}\` was signalled, but one of its processes cannot be killed: it may be another user's.`
    : `🛑 Task \`${task.id}\` has been killed.`
  const lines = [killed, `Command: ${codeSpan(task.command)}`]
  if (task.startedAt === undefined) return [...lines, 'It had not started.'].join('\n')
  return [...lines, `Duration before kill: ${formatDuration(task.endedAt - task.startedAt)}`].join('\n')
}

const LEFTOVERS = {
  none: 'Nothing was changed.',
  killed: 'Its leftover processes were killed.',
  alive: "Its leftover processes cannot be killed: they may be another user's.",
} as const
