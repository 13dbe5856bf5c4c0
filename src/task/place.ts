/** Where the work of a task runs. Pure. */
import type { FleetPlace, MachinePlace } from '../work/agent/agent-work.ts'
import type { Task } from './task.ts'

/** Returns the machine on which a task works; `undefined` for none. */
export function machineOf(task: Task): MachinePlace | undefined {
  return 'place' in task && task.place?.type === 'machine' ? task.place : undefined
}

/** Returns what a task asks of the workers of the fleet; `undefined` if it does not run there. */
export function fleetOf(task: Task): FleetPlace | undefined {
  return 'place' in task && task.place?.type === 'fleet' ? task.place : undefined
}
