import { beforeEach, expect, test } from 'vitest'
import type { Beat, BeatAnswer, Claim, Settlement } from '../../../src/fleet/port.ts'
import type { RunningJob } from '../../../src/fleet/running-job.ts'
import { WorkerJob } from '../../../src/fleet/worker-job.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

const LEASE_MS = 30_000
const HELD: BeatAnswer = { type: 'held', isCancelled: false, messages: [] }
const CLAIM: Claim = {
  job: 'launcher/bg_1',
  fence: 1,
  type: 'resume',
  offer: { id: 'bg_1', labels: [] },
  payloadBytes: 2,
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
/** The payloads with which agents were begun. */
let started: object[]
/** The messages that beats have reported as heard. */
let heard: Set<string>
let stoppedAt: number | undefined
/** How the queue answers a beat that has a checkpoint. */
let upload: (checkpoint: object) => Promise<BeatAnswer>
/** How the queue answers the question for the payload. */
let payload: () => Promise<object>
/** How the queue answers a settlement. */
let settle: () => Promise<boolean>
/** Ends the agent. */
let finish: (result: object) => void
let isDropped: boolean
let warnings: string[]

beforeEach(() => {
  clock = new ManualClock()
  upload = () => Promise.resolve(HELD)
  payload = () => Promise.resolve({})
  settle = () => Promise.resolve(true)
  isDropped = false
  warnings = []
  answer = () => Promise.resolve(HELD)
  beats = []
  settled = []
  started = []
  heard = new Set()
  stoppedAt = undefined
})

const later = <Value>(ms: number, value: Value): Promise<Value> =>
  new Promise((resolve) => clock.after(ms, () => resolve(value)))

/** Begins a claim of an agent that works until it is stopped, which takes it a second. */
function begin(
  more: Partial<RunningJob> = {},
  find = (): Promise<void> => Promise.resolve(),
  claim = CLAIM,
): WorkerJob {
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
    drop: async () => void (isDropped = true),
    ...more,
  }
  const ports = {
    clock,
    log: { warn: (message: string) => void warnings.push(message) },
    claims: {
      payload: () => payload(),
      beat: (_: object, beat: Beat) => {
        if (beat.checkpoint) return upload(beat.checkpoint)
        beats.push(clock.monotonic())
        for (const id of beat.heard) heard.add(id)
        return answer()
      },
      settle: (_: object, settlement: Settlement) => {
        settled.push(settlement)
        return settle()
      },
    },
    runner: {
      start: (_: string, given: object) => {
        started.push(given)
        return Promise.resolve(agent)
      },
      resume: () => find().then(() => agent),
      stopStrays: () => Promise.resolve(),
    },
  }
  return new WorkerJob(ports, claim, clock.monotonic(), Promise.resolve())
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

test('a result is kept while the queue is away for longer than the lease, and is told when it is back', async () => {
  const job = begin()
  await clock.advance(LEASE_MS)
  const away = (): Promise<never> => Promise.reject(new Error('away'))
  answer = away
  settle = away
  finish({ text: 'an hour of work' })
  await clock.advance(3 * LEASE_MS)
  // By now the queue takes the claim for lost.
  answer = () => Promise.resolve({ type: 'lost' })
  settle = () => Promise.resolve(true)
  await clock.advance(LEASE_MS)
  await job.over
  expect(settled.at(-1)).toEqual({ type: 'result', result: { text: 'an hour of work' }, heard: [] })
  expect(isDropped).toBe(true)
  expect(stoppedAt).toBeUndefined()
  expect(clock.pending).toBe(0)
})

test('a job whose settlement had its effect without an answer is dropped, whatever its beats are answered', async () => {
  const job = begin()
  await clock.advance(9500)
  settle = () => Promise.reject(new Error('connection reset'))
  finish({ text: 'done' })
  await clock.settle()
  answer = () => Promise.resolve({ type: 'lost' })
  settle = () => Promise.resolve(true)
  job.beatNow()
  await clock.advance(LEASE_MS)
  await job.over
  expect(isDropped).toBe(true)
  expect(warnings.join()).not.toContain('is lost')
})

test('a result that the queue does not take any more stays at the worker, which is said', async () => {
  const job = begin()
  settle = () => Promise.resolve(false)
  await clock.settle()
  finish({ text: 'late' })
  await clock.advance(LEASE_MS)
  await job.over
  expect(isDropped).toBe(false)
  expect(warnings).toEqual([expect.stringContaining('its result is not taken; its worktree stays')])
})

test('an agent that cannot be found for a while, because OpenCode does not answer, is resumed', async () => {
  let isSlow = true
  const job = begin({}, () => (isSlow ? Promise.reject(new Error('no answer')) : Promise.resolve()))
  await clock.advance(4 * LEASE_MS)
  expect(settled).toEqual([])
  isSlow = false
  await clock.advance(LEASE_MS)
  expect(await job.begun).toBeDefined()
  finish({ text: 'done' })
  await job.over
  expect(settled).toEqual([{ type: 'result', result: { text: 'done' }, heard: [] }])
})

test('a job whose agent cannot be found for 5 minutes is interrupted with the reason', async () => {
  const job = begin({}, () => Promise.reject(new Error('no answer')))
  await clock.advance(299_000)
  expect(settled).toEqual([])
  await clock.advance(2000)
  await job.over
  expect(settled).toEqual([{ type: 'interrupted', why: 'no answer' }])
  expect(clock.pending).toBe(0)
})

test('an agent works on while its checkpoint needs minutes on the way, which is sent until it has arrived', async () => {
  const made = [{ bundle: 'x'.repeat(4_000_000) }]
  const sent: object[] = []
  upload = (checkpoint) => {
    sent.push(checkpoint)
    return sent.length === 1 ? Promise.reject(new Error('reset')) : later(60_000, HELD)
  }
  const job = begin({ checkpoint: () => Promise.resolve(made.pop()) })
  await clock.advance(10 * LEASE_MS)
  expect(stoppedAt).toBeUndefined()
  expect(beats.length).toBeGreaterThanOrEqual(29)
  expect(sent).toHaveLength(2)
  job.detach()
})

test('a large result has as long to be told as its size needs, and a small one only as long as a beat', async () => {
  const calls: number[] = []
  settle = () => {
    calls.push(clock.monotonic())
    return calls.length === 1 ? later(60_000, true) : Promise.resolve(true)
  }
  const job = begin()
  await clock.settle()
  finish({ bundle: 'x'.repeat(4_000_000) })
  await clock.advance(2 * LEASE_MS)
  await job.over
  expect(calls).toHaveLength(1)
  calls.length = 0
  const small = begin()
  await clock.settle()
  finish({ text: 'x' })
  await clock.advance(2 * LEASE_MS)
  await small.over
  expect(calls).toHaveLength(2)
})

test.each([
  [true, ['m1']],
  [false, []],
])(
  'a message of which the agent says %s for having it is reported as heard accordingly',
  async (isRead, expected) => {
    answer = () => Promise.resolve({ ...HELD, messages: [{ id: 'm1', text: 'hello' }] })
    const job = begin({ say: () => Promise.resolve(isRead) })
    await clock.advance(LEASE_MS)
    expect(heard).toEqual(new Set(expected))
    job.detach()
  },
)

const STARTS: Claim = { ...CLAIM, type: 'start', payloadBytes: 4_000_000 }

test('an agent is begun when its payload has arrived, which takes minutes, while beats hold the claim', async () => {
  payload = () => later(60_000, { bundle: 'all of it' })
  const job = begin({}, undefined, STARTS)
  await clock.advance(59_000)
  expect(started).toEqual([])
  expect(beats.length).toBeGreaterThanOrEqual(5)
  await clock.advance(2000)
  expect(started).toEqual([{ bundle: 'all of it' }])
  job.detach()
})

test('a job whose payload does not arrive in three calls is handed back with the reason', async () => {
  let calls = 0
  payload = () => {
    calls += 1
    return Promise.reject(new Error('reset'))
  }
  const job = begin({}, undefined, STARTS)
  await clock.advance(LEASE_MS)
  await job.over
  expect(calls).toBe(3)
  expect(settled).toEqual([{ type: 'notStarted', why: 'reset' }])
  expect(clock.pending).toBe(0)
})

test('a job that is left to the next process while its payload is on the way begins no agent', async () => {
  payload = () => later(10_000, {})
  const job = begin({}, undefined, STARTS)
  await clock.advance(1000)
  job.detach()
  await clock.advance(LEASE_MS)
  expect(started).toEqual([])
})

test('the end of a job says what the agent has heard since the last beat', async () => {
  const messages = [{ id: 'm1', text: 'hello' }]
  answer = () => Promise.resolve({ ...HELD, messages })
  const job = begin()
  await clock.advance(1000)
  finish({ text: 'done' })
  await job.over
  expect(heard).toEqual(new Set())
  expect(settled).toEqual([{ type: 'result', result: { text: 'done' }, heard: ['m1'] }])
})
