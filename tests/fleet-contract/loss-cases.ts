/** What becomes of a job when its worker is lost, or a call is. */
import { expect } from 'vitest'
import { offerOf, stateOf, type Case } from './fleet-under-test.ts'

const LEASE_OUT = 31_000
const RESUME_OUT = 301_000

export function lossCases(add: Case): void {
  add('who has lost the lease writes nothing', async ({ jobs, under, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await one.beat(claim)
    await under.pass(LEASE_OUT)
    expect(await one.beat(claim, { report: { late: true } })).toEqual({ type: 'lost' })
    expect(await under.fleet.claims.settle(claim, { type: 'interrupted', why: 'late' })).toBe(false)
    const state = await stateOf(jobs, 'a.1')
    expect(state).toMatchObject({ type: 'claimed', isPrompted: true })
    expect(JSON.stringify(state)).not.toContain('late')
  })

  add('a result that comes after the lease is taken while the job waits for its worker', async (stage) => {
    const { jobs, under, worker } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await one.beat(claim)
    await under.pass(LEASE_OUT)
    expect(await one.ask()).toEqual({ type: 'none' })
    const settled = { type: 'result', result: { text: 'an hour of work' } } as const
    expect(await under.fleet.claims.settle(claim, settled)).toBe(true)
    expect(await under.fleet.claims.settle(claim, settled)).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: { text: 'an hour of work' } })
  })

  add('a result is not taken once its job is at another claim, or has ended without it', async (stage) => {
    const { jobs, under, worker } = stage
    const late = { type: 'result', result: { late: true } } as const
    const one = worker('one')
    for (const id of ['a.1', 'b.1', 'c.1']) await jobs.offer(offerOf(id))
    const [resumed, cancelled, unprompted] = [await one.claim(), await one.claim(), await one.claim()]
    await one.beat(resumed)
    await one.beat(cancelled)
    await under.pass(LEASE_OUT)
    await jobs.cancel('b.1')
    const next = worker('one', { process: 'one-2' })
    expect((await next.claim({ wants: 'resumed' })).offer.id).toBe('a.1')
    for (const claim of [resumed, cancelled, unprompted])
      expect(await under.fleet.claims.settle(claim, late)).toBe(false)
    await under.pass(LEASE_OUT + RESUME_OUT)
    expect(JSON.stringify(await stateOf(jobs, 'a.1'))).not.toContain('late')
  })

  add('a job whose agent was not prompted goes to another worker, at most three times', async (stage) => {
    const { jobs, under, worker } = stage
    await jobs.offer(offerOf('a.1'))
    const first = await worker('one').claim()
    await under.pass(LEASE_OUT)
    const second = await worker('two').claim()
    expect(second).toMatchObject({ type: 'start', attempt: 2 })
    expect(second.fence).toBeGreaterThan(first.fence)
    expect(await worker('one').beat(first)).toEqual({ type: 'lost' })
    await expect(worker('one').payload(first)).rejects.toThrow('the claim is lost')
    await under.pass(LEASE_OUT)
    const three = worker('three')
    const third = await three.claim()
    expect(third.attempt).toBe(3)
    await under.fleet.claims.settle(third, { type: 'notStarted', why: 'no room on the disk' })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({
      type: 'ended',
      why: expect.stringMatching(/never prompted.*3.*three.*no room on the disk/),
    })
  })

  add('a worker that could not start a job gets it again only after the others', async (stage) => {
    const { jobs, under, worker } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    expect(await under.fleet.claims.settle(claim, { type: 'notStarted', why: 'no git' })).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toEqual({
      type: 'waiting',
      note: expect.stringMatching(/one.*no git/),
    })
    one.holding = []
    expect(await one.ask()).toEqual({ type: 'none' })
    await under.pass(LEASE_OUT)
    expect((await one.claim()).attempt).toBe(2)
  })

  add('a worker that goes away hands a job back as if it had not claimed it', async (stage) => {
    const { jobs, under, worker } = stage
    await jobs.offer(offerOf('a.1'))
    const claim = await worker('one').claim()
    expect(await under.fleet.claims.settle(claim, { type: 'released' })).toBe(true)
    expect(await stateOf(jobs, 'a.1')).toEqual({ type: 'waiting' })
    expect(await worker('two').claim()).toMatchObject({ attempt: 1 })
  })

  add('a job that is handed back keeps its place before those that were offered after it', async (stage) => {
    const { jobs, under, worker } = stage
    for (const id of ['a.1', 'a.2', 'a.3']) await jobs.offer(offerOf(id))
    const one = worker('one')
    const claims = [await one.claim(), await one.claim()]
    for (const claim of claims.toReversed()) await under.fleet.claims.settle(claim, { type: 'released' })
    const two = worker('two')
    const again = [await two.claim(), await two.claim(), await two.claim()]
    expect(again.map(({ offer }) => offer.id)).toEqual(['a.1', 'a.2', 'a.3'])
  })

  add('a settlement can be repeated, and does not change what came after it', async (stage) => {
    const { jobs, under, worker } = stage
    const { claims } = under.fleet
    await jobs.offer(offerOf('a.1'))
    const first = await worker('one').claim()
    await claims.settle(first, { type: 'released' })
    const second = await worker('two').claim()
    await claims.settle(first, { type: 'released' })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', worker: 'two' })
    expect(await claims.settle(second, { type: 'result', result: { text: 'x' } })).toBe(true)
    expect(await claims.settle(second, { type: 'result', result: { text: 'x' } })).toBe(true)
    expect(await claims.settle(first, { type: 'result', result: { text: 'y' } })).toBe(false)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: { text: 'x' } })
  })

  add('a prompted job is never given to another worker, and ends as interrupted', async (stage) => {
    const { jobs, under, worker } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await one.beat(claim, { checkpoint: { commit: 'abc' } })
    await under.pass(LEASE_OUT)
    expect(await worker('two').ask()).toEqual({ type: 'none' })
    const copy = worker('one', { identity: 'another disk', process: 'copy' })
    expect(await copy.ask()).toEqual({ type: 'none' })
    await under.pass(RESUME_OUT)
    expect(await worker('two').ask()).toEqual({ type: 'none' })
    expect(await stateOf(jobs, 'a.1')).toEqual({
      type: 'ended',
      worker: 'one',
      why: expect.stringContaining('one was lost'),
      checkpoint: { commit: 'abc' },
    })
  })

  add(
    'the next process of a worker resumes what was prompted, before and after the lease ran out',
    async (stage) => {
      const { jobs, under, worker } = stage
      const one = worker('one')
      await jobs.offer(offerOf('a.1'))
      await jobs.offer(offerOf('b.1'))
      const claims = [await one.claim(), await one.claim()]
      for (const claim of claims) await one.beat(claim, { checkpoint: { of: claim.offer.id } })
      const next = worker('one', { process: 'one-2' })
      const resumed = [await next.claim({ wants: 'resumed', holding: [] })]
      await under.pass(LEASE_OUT - 10_000)
      await next.beat(resumed[0]!)
      await under.pass(11_000)
      resumed.push(await next.claim({ wants: 'resumed' }))
      expect(resumed.map(({ offer }) => offer.id)).toEqual(['a.1', 'b.1'])
      for (const claim of resumed) {
        expect(claim).toMatchObject({ type: 'resume', attempt: 1 })
        expect(claim.fence).toBeGreaterThan(1)
        expect(await next.beat(claim)).toMatchObject({ type: 'held' })
      }
      for (const claim of claims) expect(await one.beat(claim)).toEqual({ type: 'lost' })
      expect(await one.ask()).toEqual({ type: 'replaced' })
      const { claims: queue } = under.fleet
      expect(await queue.settle(resumed[0]!, { type: 'notStarted', why: 'it says so' })).toBe(false)
      expect(await queue.settle(resumed[0]!, { type: 'released' })).toBe(false)
      await queue.settle(resumed[0]!, { type: 'interrupted', why: 'its session is gone' })
      expect(await stateOf(jobs, resumed[0]!.offer.id)).toMatchObject({
        type: 'ended',
        why: 'its session is gone',
        checkpoint: { of: resumed[0]!.offer.id },
      })
    },
  )

  add(
    'a process that another one has replaced gets nothing more, whoever has its name by then',
    async (stage) => {
      const { jobs, under, worker } = stage
      await jobs.offer(offerOf('a.1'))
      const first = worker('one')
      expect(await first.ask({ wants: 'resumed' })).toEqual({ type: 'none' })
      const second = worker('one', { process: 'one-2' })
      expect(await second.ask({ wants: 'resumed' })).toEqual({ type: 'none' })
      await under.pass(LEASE_OUT)
      const copy = worker('one', { identity: 'another disk', process: 'copy' })
      expect(await copy.ask({ wants: 'resumed' })).toEqual({ type: 'none' })
      await under.pass(LEASE_OUT)
      const third = worker('one', { process: 'one-3' })
      expect(await third.ask({ wants: 'resumed' })).toEqual({ type: 'none' })
      // Their requests are late; a request to claim would take the job.
      expect(await first.ask()).toEqual({ type: 'replaced' })
      expect(await second.ask()).toEqual({ type: 'replaced' })
      await under.pass(LEASE_OUT)
      expect(await copy.ask()).toEqual({ type: 'replaced' })
      expect((await third.claim()).offer.id).toBe('a.1')
    },
  )

  add('the next process of a worker gives back what was not prompted', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1'))
    const claim = await worker('one').claim()
    expect(await worker('one', { process: 'one-2' }).ask()).toEqual({ type: 'none' })
    expect(await worker('one').beat(claim)).toEqual({ type: 'lost' })
    expect(await worker('two').claim()).toMatchObject({ type: 'start', attempt: 2 })
  })

  add('a claim whose answer was lost is taken back by the next one', async ({ jobs, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    await one.claim()
    one.holding = []
    expect(await one.ask()).toEqual({ type: 'none' })
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'waiting' })
  })

  add('a resumed claim whose answer was lost is given again', async ({ jobs, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    await one.beat(await one.claim())
    const next = worker('one', { process: 'one-2' })
    const first = await next.claim()
    next.holding = []
    const second = await next.claim()
    expect(second).toMatchObject({ type: 'resume', job: first.job })
    expect(await next.beat(first)).toEqual({ type: 'lost' })
  })

  add('a resumed claim whose answer was lost for longer than its lease is given again', async (stage) => {
    const { jobs, under, worker } = stage
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    await one.beat(await one.claim())
    const next = worker('one', { process: 'one-2' })
    const first = await next.claim({ wants: 'resumed' })
    next.holding = []
    await under.pass(LEASE_OUT)
    expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed' })
    expect(await next.claim({ wants: 'resumed' })).toMatchObject({ type: 'resume', job: first.job })
  })

  add(
    'a process that gives up a prompted job ends it as interrupted at once',
    async ({ jobs, under, worker }) => {
      const one = worker('one')
      await jobs.offer(offerOf('a.1'))
      await one.beat(await one.claim(), { checkpoint: { commit: 'abc' } })
      await under.pass(LEASE_OUT)
      await one.ask()
      expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed' })
      one.holding = []
      await one.ask()
      expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', checkpoint: { commit: 'abc' } })
    },
  )

  add('a request to claim that was overtaken does nothing', async ({ jobs, under, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const overtaken = one.request()
    const claim = await one.claim()
    await one.beat(claim)
    expect(await under.fleet.claims.claim(overtaken)).toEqual({ type: 'none' })
    expect(await one.beat(claim)).toMatchObject({ type: 'held' })
  })

  add(
    'a cancelled job whose worker is lost ends when its lease has run out, which its end says',
    async (stage) => {
      const { jobs, under, worker } = stage
      const one = worker('one')
      for (const id of ['a.1', 'b.1']) {
        await jobs.offer(offerOf(id))
        await one.beat(await one.claim())
      }
      await jobs.cancel('a.1')
      await under.pass(20_000)
      expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed' })
      await under.pass(LEASE_OUT - 20_000)
      await jobs.cancel('b.1')
      for (const id of ['a.1', 'b.1'])
        expect(await stateOf(jobs, id)).toMatchObject({
          type: 'ended',
          isCancelled: true,
          why: expect.stringContaining('worker one was lost'),
        })
    },
  )

  add('a job that nobody heard of shows for how long', async ({ jobs, under, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    await one.beat(await one.claim())
    await under.pass(60_000)
    const state = await stateOf(jobs, 'a.1')
    expect(state).toMatchObject({ type: 'claimed', isPrompted: true })
    expect((state as { silentMs: number }).silentMs).toBeGreaterThanOrEqual(60_000)
  })
}
