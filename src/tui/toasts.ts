/**
 * The few toasts: a task has failed, and all have ended. Not one for each start and step; of what waits for a permission
 * the server part tells already. Pure.
 */
import { detailOf, doerOf } from './rows.ts'
import { isUnfinished, type TaskView } from './task-view.ts'
import { fit } from './fit.ts'

export interface Toast {
  readonly variant: 'success' | 'error' | 'info'
  readonly message: string
}

const WIDTH = 160

/** What is to be told of a change. */
export function toastsFor(before: readonly TaskView[], after: readonly TaskView[]): readonly Toast[] {
  const was = new Map(before.map((view) => [view.task.id, view]))
  const ended = after.filter((view) => {
    const earlier = was.get(view.task.id)
    return earlier !== undefined && isUnfinished(earlier) && !isUnfinished(view)
  })
  const failed = ended.filter(({ task }) => task.status === 'failed' && task.failure.reason !== 'interrupted')
  const failures = failed.map((view): Toast => {
    const message = `✗ ${view.task.description} (${doerOf(view)}) failed: ${detailOf(view) ?? ''}`
    return { variant: 'error', message: fit(message, WIDTH) }
  })
  if (ended.length === 0 || after.some(isUnfinished)) return failures
  return [...failures, ...allEnded(ended, failed.length)]
}

function allEnded(ended: readonly TaskView[], failures: number): readonly Toast[] {
  const [last] = ended
  // It was just named.
  if (!last || failures === ended.length) return []
  const isCancelled = ended.every(({ phase }) => phase === 'cancelled')
  // The user has done it, or the session that launched it.
  if (isCancelled) return []
  return [{ variant: 'success', message: '✓ All background tasks have ended.' }]
}
