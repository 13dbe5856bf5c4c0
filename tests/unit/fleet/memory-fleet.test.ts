/** The contract of a queue of a fleet, on the one in memory. */
import { MemoryFleet } from '../../fleet-model/memory-fleet.ts'
import { fleetContract } from '../../fleet-contract/contract.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

fleetContract(async (times, limits) => {
  const clock = new ManualClock()
  const fleet = new MemoryFleet(clock, times, limits)
  return {
    fleet,
    async pass(ms) {
      await clock.advance(ms)
      fleet.sweep()
    },
    close: async () => fleet.close(),
  }
})
