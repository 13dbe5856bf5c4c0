/** Renders the status of a task, and what it waits for or has left running, in the same words for each answer. */
import { machineOf } from '../../task/place.ts'
import { formatAsked, formatDuration } from '../../text/format.ts'
import type { BackgroundManager } from '../../manager.ts'
import { nameForModel } from '../../text/sanitize.ts'
import type { Failure } from '../../task/state.ts'
import { STATUSES } from '../../task/status.ts'
import { isEnded, questionOf, type CommandTask, type Task } from '../../task/task.ts'

/** Returns the note beside a status; `undefined` if there is nothing to add. */
export function statusNote(manager: BackgroundManager, task: Task): string | undefined {
  if (manager.hasLeftovers(task.id)) return 'has leftover processes'
  if ('lostAt' in task && task.lostAt !== undefined)
    return `no contact with ${machineOf(task)?.name} since ${new Date(task.lostAt).toISOString()}`
  switch (task.status) {
    case 'pending': {
      const awaited = manager.waitsFor(task.id)
      if (awaited.length > 0) return `waits for ${awaited.join(', ')}`
      const heldMs = manager.heldFor(task.id)
      if (heldMs !== undefined) return `provider retrying, for ${formatDuration(heldMs)}`
      const place = manager.placeInQueue(task.id)
      return place === undefined ? undefined : `number ${place + 1} in the queue`
    }
    case 'waiting':
      return `for a permission: ${formatAsked(task.permissionRequests)}`
    default: {
      const retry = manager.retryOf(task.id)
      if (retry) {
        return `provider retry ${retry.attempt} in ${formatDuration(retry.inMs)}: ${retry.message}`
      }
      const loops = manager.loopsOf(task.id)
      if (loops > 1) return `its model has answered ${loops} times in a row without an end or a tool call`
      const stalledMs = manager.stalledFor(task.id)
      return stalledMs === undefined ? undefined : `silent for ${formatDuration(stalledMs)}`
    }
  }
}

export function taskStatusText(task: Task, note: string | undefined): string {
  const question = questionOf(task)
  if (question !== undefined) return `❓ asks: ${nameForModel(question)}`
  const { sign, word } = STATUSES[task.status]
  const why = task.status === 'failed' ? `: ${causeOf(task.failure)}` : ''
  // The note of a waiting task begins with `for`.
  const joint = task.status === 'waiting' ? ' ' : ', '
  return `${sign} ${word}${why}${note === undefined ? '' : `${joint}${note}`}`
}

function causeOf({ reason, message }: Failure): string {
  return reason === 'exit' ? message : reason
}

export function commandStatusText(task: CommandTask, note: string | undefined): string {
  if (task.status === 'failed' && task.failure.reason === 'timeout') return '⏰ **TIMEOUT**'
  const { sign, commandWord } = STATUSES[task.status]
  return `${sign} ${commandWord}${note === undefined || isEnded(task) ? '' : `, ${note}`}`
}
