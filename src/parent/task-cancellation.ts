/** Cancels the tasks of a parent that its user has interrupted, for the option `onInterrupt: "cancel"`. */
import type { Clock } from '../clock.ts'
import type { ParentTasks } from './parent-tasks.ts'

/**
 * Delay between an interrupt and cancelling its tasks. On shutdown OpenCode aborts all sessions a few milliseconds before
 * `dispose` (contract 9.4); without the delay a shutdown would look like ESC.
 */
const DELAY_MS = 500

/** @param disposal aborted when the instance ends, which cancels nothing */
export function cancelTasksSoon(
  tasks: ParentTasks,
  clock: Clock,
  disposal: AbortSignal,
  cancel: (taskID: string) => unknown,
): void {
  const cancelTimer = clock.after(DELAY_MS, () => {
    disposal.removeEventListener('abort', cancelTimer)
    for (const taskID of tasks.cancelOrder) cancel(taskID)
  })
  disposal.addEventListener('abort', cancelTimer)
}
