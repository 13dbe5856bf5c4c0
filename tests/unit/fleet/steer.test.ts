/** A message to a task of a fleet, on the queue in memory. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FleetRuns } from '../../../src/fleet/launcher/fleet-runs.ts'
import { MemoryFleet } from '../../fleet-model/memory-fleet.ts'
import { DEFAULT_TIMES } from '../../../src/fleet/port.ts'
import type { AgentTask } from '../../../src/task/task.ts'
import { TaskStore } from '../../../src/task/store.ts'
import { failed } from '../../../src/work/outcome.ts'
import { HandWorker, offerOf, UNLIMITED, workerOf } from '../../fleet-contract/fleet-under-test.ts'
import { pendingTask } from '../../harness/tasks.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

const ID = 'bg_00000001'

let clock: ManualClock
let fleet: MemoryFleet
let store: TaskStore
/** Fails while the queue is away. */
let open: () => Promise<void>
/** What the message came to. */
let answer: unknown
let disposal: AbortController

beforeEach(() => {
  clock = new ManualClock()
  fleet = new MemoryFleet(clock, DEFAULT_TIMES, UNLIMITED)
  store = new TaskStore()
  open = () => Promise.resolve()
  answer = 'nothing yet'
  disposal = new AbortController()
})
afterEach(() => fleet.close())

/** Sends a message to a task whose job has not been offered. */
async function steer(): Promise<void> {
  const task = {
    ...pendingTask({ id: ID, place: { type: 'fleet', labels: [] } }),
    status: 'starting',
  } as AgentTask
  store.add(task)
  const runs = new FleetRuns(
    {
      opencode: {} as never,
      clock,
      log: { warn: () => {}, debug: () => {} },
      store,
      worktrees: () => Promise.reject(new Error('there is none')),
      openJobs: () => open().then(() => fleet.launcher('me')),
      disposal: disposal.signal,
    },
    { fleet: { db: 'x', labels: [], remote: '' }, timeoutMs: 0 },
  )
  const said = runs.steer(task, { promptID: 'msg_2', text: 'in green' })
  said.then(
    (isSaid) => (answer = isSaid),
    (error: Error) => (answer = error.message),
  )
  await clock.settle()
}

test('a message to a task whose offer is still on its way waits for the offer, and reaches the agent', async () => {
  await steer()
  await clock.advance(20_000)
  expect(answer).toBe('nothing yet')
  await fleet.launcher('me').offer(offerOf(`${ID}.1`))
  await clock.advance(2000)
  expect(answer).toBe(true)
  const worker = new HandWorker(fleet.claims, workerOf('one'))
  expect(await worker.beat(await worker.claim())).toMatchObject({
    messages: [{ id: 'msg_2', text: 'in green' }],
  })
})

test('a message to a task that is not offered within a minute, or whose queue is away, is refused with the reason', async () => {
  await steer()
  await clock.advance(61_000)
  expect(answer).toBe("the fleet's queue does not have the task yet")
  store = new TaskStore()
  open = () => Promise.reject(new Error('away'))
  await steer()
  expect(answer).toBe("the fleet's queue did not answer: away")
})

test('a message to a task whose job has ended waits for the end of the task, so that it starts the next run', async () => {
  await fleet.launcher('me').offer(offerOf(`${ID}.1`))
  await fleet.launcher('me').cancel(`${ID}.1`)
  await steer()
  expect(answer).toBe('nothing yet')
  store.dispatch(ID, { type: 'ended', at: 1, outcome: failed('interrupted', 'x') })
  await clock.advance(1000)
  expect(answer).toBe(false)
})

test('a message that waits for an offer waits no longer than its OpenCode lives', async () => {
  await steer()
  disposal.abort()
  await clock.settle()
  expect(answer).toBe('this OpenCode ends')
  expect(clock.pending).toBe(0)
  // The next process may offer the job again: nothing is said to that any more.
  await fleet.launcher('me').offer(offerOf(`${ID}.1`))
  await clock.advance(2000)
  const worker = new HandWorker(fleet.claims, workerOf('one'))
  expect(await worker.beat(await worker.claim())).toMatchObject({ messages: [] })
})
