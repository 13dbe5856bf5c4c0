/** The seam between the engine and the kinds of work: how each is queued, limited and run. */
import type { AgentTask, CommandTask, Outcome, Task } from '../task/task.ts'
import type { Queue } from './queue.ts'

export interface WorkKind<Kind extends Task> {
  readonly queue: Queue
  /** How long a run may take, in milliseconds; 0: no limit. */
  timeLimitOf(task: Kind): number
  /** Whether a run goes on although its time limit is over. */
  outlivesLimit(task: Kind): boolean
  /**
   * Does the work of a task, or goes on with one that another process has begun. Resolves when it has really stopped; never
   * rejects.
   *
   * @param onStarted called once, when the work has been handed over and begins
   * @param stop aborted with a `StopCause` when the work is to stop; the outcome then names that cause, unless the work
   *   was faster
   */
  run(task: Kind, onStarted: () => void, stop: AbortSignal): Promise<Outcome>
}

export interface WorkKinds {
  readonly agent: WorkKind<AgentTask>
  readonly command: WorkKind<CommandTask>
}

/** The kind of a task. */
export function kindOf(kinds: WorkKinds, task: Task): WorkKind<Task> {
  return kinds[task.kind]
}
