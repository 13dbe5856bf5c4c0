/** Cancels the tasks of a parent that its user has interrupted, for the option `onInterrupt: "cancel"`. */
import type { Clock } from '../clock.ts'
import type { ParentTasks } from './parent-tasks.ts'

interface Ports {
  readonly clock: Clock
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  readonly cancel: (taskID: string) => Promise<unknown>
}

/**
 * Delay between an interrupt and cancelling its tasks. On shutdown OpenCode aborts all sessions a few milliseconds before
 * `dispose` (contract 9.4); without the delay a shutdown would look like ESC.
 */
const DELAY_MS = 500

export class CancelOnInterrupt {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  cancelSoon({ unfinishedIDs }: ParentTasks): void {
    const { cancel, clock, disposal } = this.#ports
    const cancelTimer = clock.after(DELAY_MS, () => {
      disposal.removeEventListener('abort', cancelTimer)
      for (const taskID of unfinishedIDs) void cancel(taskID)
    })
    disposal.addEventListener('abort', cancelTimer)
  }
}
