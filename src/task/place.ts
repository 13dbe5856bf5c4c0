/** Where the work of a task runs. Pure. */
import type { PromptedWork, Task } from './task.ts'

type Place = NonNullable<PromptedWork['place']>

/** Returns the machine on which a task works; `undefined` for none. */
export function machineOf(task: Task): Extract<Place, { type: 'machine' }> | undefined {
  return 'place' in task && task.place?.type === 'machine' ? task.place : undefined
}

/** Returns what a task asks of the workers of the fleet; `undefined` if it does not run there. */
export function fleetOf(task: Task): Extract<Place, { type: 'fleet' }> | undefined {
  return 'place' in task && task.place?.type === 'fleet' ? task.place : undefined
}
