import { beforeEach, expect, test } from 'vitest'
import type { BeatAnswer, Claim, Settlement } from '../../../src/fleet/port.ts'
import { WorkerJob, type RunningJob } from '../../../src/fleet/worker-job.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

const LEASE_MS = 30_000
const HELD: BeatAnswer = { type: 'held', isCancelled: false, messages: [] }
const CLAIM: Claim = {
  job: 'launcher/bg_1',
  fence: 1,
  type: 'resume',
  offer: { id: 'bg_1', labels: [], payload: {} },
  owner: 'launcher',
  attempt: 1,
  leaseMs: LEASE_MS,
}

let clock: ManualClock
/** How the queue answers a beat. */
let answer: () => Promise<BeatAnswer>
/** When the queue received each beat. */
let beats: number[]
let settled: Settlement[]
let stoppedAt: number | undefined

beforeEach(() => {
  clock = new ManualClock()
  answer = () => Promise.resolve(HELD)
  beats = []
  settled = []
  stoppedAt = undefined
})

const later = <Value>(ms: number, value: Value): Promise<Value> =>
  new Promise((resolve) => clock.after(ms, () => resolve(value)))

/** Begins a claim of an agent that works until it is stopped, which takes it a second. */
function begin(): WorkerJob {
  let finish = (_result: object): void => {}
  const agent: RunningJob = {
    result: new Promise((resolve) => (finish = resolve)),
    report: () => Promise.resolve({}),
    backoff: () => undefined,
    say: () => Promise.resolve(true),
    stop: () => {
      stoppedAt = clock.monotonic()
      clock.after(1000, () => finish({ text: 'stopped' }))
    },
    checkpoint: () => Promise.resolve(undefined),
    drop: () => Promise.resolve(),
  }
  const ports = {
    clock,
    log: { warn: () => {} },
    claims: {
      beat: () => {
        beats.push(clock.monotonic())
        return answer()
      },
      settle: (_: object, settlement: Settlement) => {
        settled.push(settlement)
        return Promise.resolve(true)
      },
    },
    runner: {
      start: () => Promise.resolve(agent),
      resume: () => Promise.resolve(agent),
      stopStrays: () => Promise.resolve(),
    },
  }
  return new WorkerJob(ports, CLAIM, clock.monotonic(), Promise.resolve())
}

/** Lets the queue receive beats without an answer from now on. Returns when it received the last beat that it answers. */
async function silence(): Promise<number> {
  const lastHeld = beats.at(-1) ?? 0
  answer = () => new Promise(() => {})
  await clock.advance(2 * LEASE_MS)
  return lastHeld
}

test('an agent works on as long as its beats are answered', async () => {
  const job = begin()
  await clock.advance(10 * LEASE_MS)
  expect(stoppedAt).toBeUndefined()
  expect(beats.length).toBeGreaterThanOrEqual(30)
  job.detach()
  await job.over
  expect(clock.pending).toBe(0)
})

// With late answers, a lease that counted from an answer would end after that of the queue.
test.each([0, 9000])(
  'an agent is stopped before its lease runs out at a queue that is silent, after answers that took %i ms',
  async (ms) => {
    answer = () => later(ms, HELD)
    const job = begin()
    await clock.advance(LEASE_MS)
    const lastHeld = await silence()
    await job.over
    expect(clock.pending).toBe(0)
    expect(stoppedAt).toBeLessThan(lastHeld + LEASE_MS)
    expect(settled).toEqual([])
  },
)

test('an agent whose claim is lost at the queue is stopped at once', async () => {
  const job = begin()
  await clock.advance(1000)
  answer = () => Promise.resolve({ type: 'lost' })
  await clock.advance(LEASE_MS)
  await job.over
  expect(clock.pending).toBe(0)
  expect(stoppedAt).toBe(beats.at(-1))
  expect(settled).toEqual([])
})
