/** Runs agents at the workers of a fleet. The code for them is a bundle of its own, loaded with the first task. */
import type { AgentTask } from '../../task/task.ts'
import type { WorkKind } from '../../work/kind.ts'
import type { FleetRuns } from './fleet-runs.ts'

export function fleetKind(load: () => Promise<FleetRuns>): WorkKind<AgentTask> {
  return {
    // The fleet has a queue of its own, and holds no slot here.
    queue: { add: (_, work) => void work(), remove: () => false, placeOf: () => undefined },
    isElsewhere: true,
    // A run waits for a worker first, so that `FleetRuns` limits its time.
    timeLimitOf: () => 0,
    run: async (...run) => (await load()).run(...run),
    recover: async (...recovery) => (await load()).recover(...recovery),
    report: async (...report) => (await load()).report(...report),
    endWasTold: (task) => void load().then((runs) => runs.endWasTold(task)),
  }
}
