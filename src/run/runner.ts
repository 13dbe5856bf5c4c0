/** The seam between the manager and the kinds of work: whatever runs, it runs once, and comes back with an outcome. */
import type { Outcome, UnfinishedTask } from '../task/task.ts'

export interface Runner {
  /**
   * Does the work of a task and resolves when it has really stopped. Never rejects.
   *
   * @param onPrompted called once, when the work has been handed over and begins
   * @param signal     aborted when the parent wants it to stop; the outcome is then `cancelled`, unless the work was
   *                   faster
   */
  run(task: UnfinishedTask, onPrompted: () => void, signal: AbortSignal): Promise<Outcome>
}
