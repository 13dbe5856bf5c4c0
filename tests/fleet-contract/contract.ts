/** What each queue of a fleet promises: `src/fleet/port.ts`, as cases that run on any implementation. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DEFAULT_TIMES, type ClaimsChange } from '../../src/fleet/port.ts'
import {
  HandWorker,
  offerOf,
  stateOf,
  UNLIMITED,
  workerOf,
  type Case,
  type FleetUnderTest,
  type OpenFleet,
  type Stage,
} from './fleet-under-test.ts'
import { limitCases } from './limit-cases.ts'
import { lossCases } from './loss-cases.ts'

export function fleetContract(open: OpenFleet): void {
  let opened: FleetUnderTest[]
  beforeEach(() => {
    opened = []
  })
  afterEach(async () => {
    for (const under of opened) await under.close()
  })
  const add: Case = (name, run, limits = UNLIMITED) => {
    // oxlint-disable-next-line vitest/expect-expect, vitest/valid-title -- the cases expect and name
    test(name, async () => {
      const under = await open(DEFAULT_TIMES, limits)
      opened.push(under)
      const workers = new Map<string, HandWorker>()
      const worker: Stage['worker'] = (as, more) => {
        const process = workerOf(as, more)
        const key = JSON.stringify(process)
        const known = workers.get(key) ?? new HandWorker(under.fleet.claims, process)
        workers.set(key, known)
        return known
      }
      await run({ under, jobs: under.fleet.launcher('ann'), worker })
    })
  }
  jobCases(add)
  lossCases(add)
  limitCases(add)
}

function jobCases(add: Case): void {
  add('a job goes from its offer to its end, and is forgotten once that is acknowledged', async (stage) => {
    const { jobs, worker, under } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    expect(await stateOf(jobs, 'a.1')).toEqual({ type: 'waiting' })
    const claim = await one.claim()
    expect(claim).toMatchObject({
      type: 'start',
      offer: { id: 'a.1', labels: [] },
      owner: 'ann',
      attempt: 1,
    })
    expect(await one.payload(claim)).toEqual(offerOf('a.1').payload)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', worker: 'one', isPrompted: false })
    expect(await one.beat(claim, { report: { tokens: 3 } })).toEqual({
      type: 'held',
      isCancelled: false,
      messages: [],
    })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ isPrompted: true, report: { tokens: 3 } })
    const settled = { type: 'result', result: { text: 'done' } } as const
    expect(await under.fleet.claims.settle(claim, settled)).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({
      type: 'ended',
      worker: 'one',
      result: { text: 'done' },
    })
    await jobs.acknowledge('a.1')
    expect(await stateOf(jobs, 'a.1')).toBeUndefined()
  })

  add('a repeated offer changes nothing, even after the job was acknowledged', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1'))
    await jobs.offer(offerOf('a.1', { payload: { prompt: 'another' } }))
    const one = worker('one')
    expect(await one.payload(await one.claim())).toEqual({ prompt: 'a.1' })
    await jobs.offer(offerOf('a.1'))
    expect(await worker('two').ask()).toEqual({ type: 'none' })
    await jobs.offer(offerOf('b.1'))
    await jobs.cancel('b.1')
    await jobs.acknowledge('b.1')
    await jobs.offer(offerOf('b.1'))
    expect(await worker('two').ask()).toEqual({ type: 'none' })
    expect(await stateOf(jobs, 'b.1')).toBeUndefined()
  })

  add('an acknowledgement of a job at work does nothing', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1'))
    await worker('one').claim()
    await jobs.acknowledge('a.1')
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed' })
  })

  add('no owner sees, cancels or acknowledges the jobs of another', async ({ under, jobs, worker }) => {
    const other = under.fleet.launcher('bob')
    await jobs.offer(offerOf('a.1'))
    await other.offer(offerOf('a.1', { payload: { prompt: 'of bob' } }))
    expect(await other.cancel('a.1')).toBe(true)
    await other.acknowledge('a.1')
    expect(await stateOf(jobs, 'a.1')).toEqual({ type: 'waiting' })
    const claim = await worker('one').claim()
    expect(claim.owner).toBe('ann')
    expect(await worker('one').payload(claim)).toEqual({ prompt: 'a.1' })
    expect(await worker('two').ask()).toEqual({ type: 'none' })
  })

  add('a waiting job ends at once when it is cancelled', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1'))
    expect(await jobs.cancel('a.1')).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', isCancelled: true })
    expect(await worker('one').ask()).toEqual({ type: 'none' })
  })

  add('an offer that comes after its cancel starts nothing', async ({ jobs, worker }) => {
    expect(await jobs.cancel('a.1')).toBe(false)
    await jobs.offer(offerOf('a.1'))
    expect(await worker('one').ask()).toEqual({ type: 'none' })
    expect(await stateOf(jobs, 'a.1')).toBeUndefined()
  })

  add('a repeated cancel of a job that was never offered is answered as the first one', async ({ jobs }) => {
    await jobs.cancel('a.1')
    expect(await jobs.cancel('a.1')).toBe(false)
    await jobs.offer(offerOf('a.1'))
    expect(await jobs.cancel('a.1')).toBe(false)
  })

  add('a prompt is refused once its job is cancelled, and the worker ends it', async (stage) => {
    const { jobs, under, worker } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await jobs.cancel('a.1')
    expect(await one.beat(claim)).toMatchObject({ type: 'held', isCancelled: true })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', isPrompted: false })
    expect(await under.fleet.claims.settle(claim, { type: 'cancelled' })).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', isCancelled: true })
  })

  add('a cancel at work comes with each beat until the worker settles', async ({ jobs, under, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await one.beat(claim)
    await jobs.cancel('a.1')
    expect(await one.beat(claim)).toMatchObject({ isCancelled: true })
    expect(await one.beat(claim)).toMatchObject({ isCancelled: true })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', isPrompted: true })
    await under.fleet.claims.settle(claim, { type: 'result', result: { outcome: 'cancelled' } })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: { outcome: 'cancelled' } })
  })

  add('messages come in their order once the agent was prompted, until they were heard', async (stage) => {
    const { jobs, worker } = stage
    const one = worker('one')
    const [first, second] = [
      { id: 'm1', text: 'first' },
      { id: 'm2', text: 'second' },
    ]
    await jobs.offer(offerOf('a.1'))
    expect(await jobs.say('a.1', first)).toBe(true)
    const claim = await one.claim()
    expect(await one.beat(claim, { phase: 'starting' })).toMatchObject({ messages: [] })
    expect(await one.beat(claim)).toMatchObject({ messages: [first] })
    await jobs.say('a.1', second)
    await jobs.say('a.1', first)
    expect(await one.beat(claim)).toMatchObject({ messages: [first, second] })
    expect(await one.beat(claim, { heard: ['m1'] })).toMatchObject({ messages: [second] })
    expect(await one.beat(claim, { heard: ['m2'] })).toMatchObject({ messages: [] })
    expect(await jobs.say('a.1', first)).toBe(true)
    expect(await one.beat(claim)).toMatchObject({ messages: [] })
  })

  add('an end has the messages that the agent had not heard', async ({ jobs, under, worker }) => {
    const one = worker('one')
    for (const id of ['a.1', 'b.1']) await jobs.offer(offerOf(id))
    const claim = await one.claim()
    for (const id of ['m1', 'm2', 'm3', 'm4']) await jobs.say('a.1', { id, text: `text of ${id}` })
    await one.beat(claim)
    await one.beat(claim, { heard: ['m1'] })
    await under.fleet.claims.settle(claim, { type: 'result', result: {}, heard: ['m3'] })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ unheard: ['text of m2', 'text of m4'] })
    await jobs.say('b.1', { id: 'm1', text: 'never read' })
    await jobs.cancel('b.1')
    expect(await stateOf(jobs, 'b.1')).toMatchObject({ isCancelled: true, unheard: ['never read'] })
  })

  add('nothing is said to a job that has ended', async ({ jobs }) => {
    await jobs.offer(offerOf('a.1'))
    await jobs.cancel('a.1')
    expect(await jobs.say('a.1', { id: 'm1', text: 'hello' })).toBe(false)
    expect(await jobs.say('b.1', { id: 'm1', text: 'hello' })).toBe(false)
  })

  add('a launcher is told when a job of its own changes, until it stops to watch', async (stage) => {
    const { jobs, under, worker } = stage
    const stop = new AbortController()
    const calls = { ann: 0, bob: 0 }
    jobs.watch(() => (calls.ann += 1), stop.signal)
    under.fleet.launcher('bob').watch(() => (calls.bob += 1), stop.signal)
    await jobs.offer(offerOf('a.1'))
    const claim = await worker('one').claim()
    const before = calls.ann
    await under.fleet.claims.settle(claim, { type: 'result', result: {} })
    await expect.poll(() => calls.ann).toBeGreaterThan(before)
    expect(calls.bob).toBe(0)
    stop.abort()
  })

  add('a worker is told of an offer and of a cancel', async ({ jobs, under, worker }) => {
    const stop = new AbortController()
    const changes: ClaimsChange[] = []
    under.fleet.claims.watch((change) => changes.push(change), stop.signal)
    await jobs.offer(offerOf('a.1'))
    await expect.poll(() => changes).toEqual([{ type: 'offered' }])
    const { job } = await worker('one').claim()
    await jobs.cancel('a.1')
    await expect.poll(() => changes).toContainEqual({ type: 'asked', job })
    stop.abort()
  })
}
