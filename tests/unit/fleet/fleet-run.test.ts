import { expect, test } from 'vitest'
import { FleetRun, type RunOver } from '../../../src/fleet/launcher/fleet-run.ts'
import { MemoryFleet } from '../../fleet-model/memory-fleet.ts'
import { DEFAULT_TIMES } from '../../../src/fleet/port.ts'
import { offerOf, UNLIMITED } from '../../fleet-contract/fleet-under-test.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

test('a run that is stopped before its offer arrives ends, though the first answer to its cancel is lost', async () => {
  const clock = new ManualClock()
  const jobs = new MemoryFleet(clock, DEFAULT_TIMES, UNLIMITED).launcher('me')
  let cancels = 0
  const run = new FleetRun(
    {
      jobs: {
        ...jobs,
        offer: () => Promise.reject(new Error('the database is away')),
        async cancel(id) {
          const isKnown = await jobs.cancel(id)
          cancels += 1
          if (cancels === 1) throw new Error('the connection was closed before the answer')
          return isKnown
        },
      },
      clock,
      log: { warn: () => {} },
      disposal: new AbortController().signal,
    },
    {
      jobID: 'a.1',
      offer: () => Promise.resolve(offerOf('a.1')),
      onPrompted: () => {},
      onReport: () => {},
    },
  )
  let over: RunOver | undefined
  void run.over.then((end) => (over = end))
  const started = run.start()
  await clock.settle()
  run.stop({ type: 'cancelled', by: 'parent' })
  await clock.advance(10_000)
  await started
  expect(cancels).toBe(2)
  expect(over).toEqual({ refusal: 'it was stopped first' })
})
