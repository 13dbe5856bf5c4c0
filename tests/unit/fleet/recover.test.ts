/** Tasks of a fleet that an earlier process has launched, on the queue in memory. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FleetRuns } from '../../../src/fleet/launcher/fleet-runs.ts'
import type { Jobs } from '../../../src/fleet/launcher/jobs.ts'
import { MemoryFleet } from '../../fleet-model/memory-fleet.ts'
import { DEFAULT_TIMES } from '../../../src/fleet/port.ts'
import { TaskStore } from '../../../src/task/store.ts'
import type { Recovered } from '../../../src/work/kind.ts'
import { offerOf, UNLIMITED } from '../../fleet-contract/fleet-under-test.ts'
import { ManualClock } from '../../harness/manual-clock.ts'
import { pendingTask } from '../../harness/tasks.ts'

const ID = 'bg_00000001'
const clock = new ManualClock()
const task = pendingTask({ id: ID, place: { type: 'fleet', labels: [] } })

let fleet: MemoryFleet
beforeEach(() => {
  fleet = new MemoryFleet(clock, DEFAULT_TIMES, UNLIMITED)
})
afterEach(() => fleet.close())

/** @param changes of the queue that the process uses */
function recover(changes: Partial<Jobs> = {}): Promise<Recovered> {
  const runs = new FleetRuns(
    {
      opencode: {} as never,
      clock,
      log: { warn: () => {}, debug: () => {} },
      store: new TaskStore(),
      worktrees: () => Promise.reject(new Error('there is none')),
      openJobs: () => Promise.resolve({ ...fleet.launcher('me'), ...changes }),
      disposal: new AbortController().signal,
    },
    { fleet: { db: 'x', labels: [], remote: '' }, timeoutMs: 0 },
  )
  return runs.recover(task, () => false)
}

test('a task whose offer the queue does not have has ended, and an offer that comes later starts nothing', async () => {
  const { task: recovered } = await recover()
  expect(recovered).toMatchObject({ status: 'failed' })
  const jobs = fleet.launcher('me')
  await jobs.offer(offerOf(`${ID}.1`))
  expect(await jobs.states([`${ID}.1`])).toEqual(new Map())
})

test('a task whose offer comes while its process looks for it has no end before the queue tells one', async () => {
  const jobs = fleet.launcher('me')
  const { task: recovered, ends } = await recover({
    async states(ids) {
      const states = await jobs.states(ids)
      await jobs.offer(offerOf(`${ID}.1`))
      return states
    },
  })
  expect(recovered).toMatchObject({ status: 'starting' })
  expect(ends).toEqual([])
  expect((await jobs.states([`${ID}.1`])).get(`${ID}.1`)).toMatchObject({ type: 'ended', isCancelled: true })
})
