/**
 * The few toasts: a task has failed, and all have ended. Not one for each start and step; of what waits for a permission
 * the server part tells already. Pure.
 */
import { detailOf, doerOf } from './rows.ts'
import { isUnfinished, type TaskView } from './task-view.ts'
import { fit } from '../fit.ts'

export interface Toast {
  readonly variant: 'error' | 'info'
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
  // OpenCode itself has ended: what it left behind is told with the next message.
  const own = ended.filter(({ task }) => task.status !== 'failed' || task.failure.reason !== 'interrupted')
  const failed = own.filter(({ phase }) => phase === 'failed')
  const failures = failed.map((view): Toast => {
    const message = `✗ ${view.task.description} (${doerOf(view)}) failed: ${detailOf(view) ?? ''}`
    return { variant: 'error', message: fit(message, WIDTH) }
  })
  // What failed was just named, and what was cancelled, somebody has cancelled.
  const isNews = own.some(({ phase }) => phase === 'completed')
  if (!isNews || after.some(isUnfinished)) return failures
  return [...failures, { variant: 'info', message: 'All background tasks have ended.' }]
}
