/** The seam between the manager and the kinds of work: whatever runs, it runs once, and comes back with an outcome. */
import type { Outcome, Task } from '../task/task.ts'

export interface Runner<Kind extends Task> {
  /**
   * Does the work of a task and resolves when it has really stopped. Never rejects.
   *
   * @param onPrompted called once, when the work has been handed over and begins
   * @param signal     aborted when the parent wants it to stop; the outcome is then `cancelled`, unless the work was
   *                   faster
   */
  run(task: Kind, onPrompted: () => void, signal: AbortSignal): Promise<Outcome>
}
