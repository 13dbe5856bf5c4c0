/** How tasks depend on each other: a follower waits, unqueued, for the tasks that its `after` names. Pure. */
import { isEnded, questionOf, type Task } from './task.ts'

/**
 * The state of a task for its followers. `open`: they wait for its end. `met`: its result releases them. `failed`: they end
 * without a start.
 */
export type DependencyState = 'open' | 'met' | 'failed'

/** Decides alone whether an end releases the followers of a task: after a question, they wait for its next run. */
export function dependencyState(task: Task): DependencyState {
  if (!isEnded(task) || questionOf(task) !== undefined) return 'open'
  return task.status === 'completed' ? 'met' : 'failed'
}

/** Returns the ids of the tasks whose results the prompt of a task still lacks. */
export function dependenciesOf(task: Task): readonly string[] {
  return ('after' in task && task.after) || []
}
