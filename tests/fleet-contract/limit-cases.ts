/** Who may claim what. */
import { expect } from 'vitest'
import { offerOf, type Case } from './fleet-under-test.ts'

export function limitCases(add: Case): void {
  add('a job is claimed by a worker with all of its labels alone', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1', { labels: ['gpu', 'app'] }))
    await jobs.offer(offerOf('b.1'))
    expect((await worker('one', { labels: ['gpu'] }).claim()).offer.id).toBe('b.1')
    expect((await worker('two', { labels: ['app', 'gpu', 'big'] }).claim()).offer.id).toBe('a.1')
  })

  add('a worker has no more claims than slots', async ({ jobs, under, worker }) => {
    const one = worker('one', { slots: 1 })
    await jobs.offer(offerOf('a.1'))
    await jobs.offer(offerOf('b.1'))
    const claim = await one.claim()
    expect(await one.ask()).toEqual({ type: 'none' })
    await under.fleet.claims.settle(claim, { type: 'result', result: {} })
    expect((await one.claim()).offer.id).toBe('b.1')
  })

  const limits = { total: 3, providers: { p: 2 }, models: { 'p/m': 1 } }
  add(
    'the limits of all, of a provider and of a model hold together, and a claim that ends makes room',
    async ({ jobs, under, worker }) => {
      const one = worker('one', { slots: 10 })
      const ofModel = { provider: 'p', model: 'p/m' }
      for (const id of ['a.1', 'b.1']) await jobs.offer(offerOf(id, ofModel))
      for (const id of ['c.1', 'd.1']) await jobs.offer(offerOf(id, { provider: 'p', model: 'p/other' }))
      for (const id of ['e.1', 'f.1']) await jobs.offer(offerOf(id))
      const claims = [await one.claim(), await one.claim(), await one.claim()]
      expect(claims.map(({ offer }) => offer.id)).toEqual(['a.1', 'c.1', 'e.1'])
      expect(await worker('two').ask()).toEqual({ type: 'none' })
      await under.fleet.claims.settle(claims[2]!, { type: 'result', result: {} })
      expect((await worker('two').claim()).offer.id).toBe('f.1')
      await under.fleet.claims.settle(claims[0]!, { type: 'result', result: {} })
      expect((await worker('two').claim()).offer.id).toBe('b.1')
    },
    limits,
  )

  add(
    'many claims at once never pass a limit',
    async ({ jobs, worker }) => {
      for (let index = 0; index < 20; index++) await jobs.offer(offerOf(`a${index}.1`, { provider: 'p' }))
      const workers = Array.from({ length: 10 }, (_, index) => worker(`w${index}`))
      const answers = await Promise.all(workers.map((each) => each.ask()))
      expect(answers.filter(({ type }) => type === 'claimed')).toHaveLength(2)
    },
    limits,
  )

  add('a provider that refuses requests holds back its jobs everywhere, for as long', async (stage) => {
    const { jobs, under, worker } = stage
    const [one, two] = [worker('one'), worker('two')]
    await jobs.offer(offerOf('a.1', { provider: 'p' }))
    await jobs.offer(offerOf('b.1', { provider: 'p' }))
    await jobs.offer(offerOf('c.1', { provider: 'q' }))
    const claim = await one.claim()
    await one.beat(claim, { backoff: { provider: 'p', forMs: 20_000 } })
    await one.beat(claim, { backoff: { provider: 'p', forMs: 5000 } })
    expect((await two.claim()).offer.id).toBe('c.1')
    await under.pass(10_000)
    expect(await two.ask()).toEqual({ type: 'none' })
    await under.pass(10_500)
    expect((await two.claim()).offer.id).toBe('b.1')
  })

  add(
    'a lease that ran out before the prompt makes room',
    async ({ jobs, under, worker }) => {
      await jobs.offer(offerOf('a.1', { provider: 'p', model: 'p/m' }))
      await worker('one').claim()
      await jobs.offer(offerOf('b.1', { provider: 'p', model: 'p/m' }))
      await jobs.cancel('a.1')
      expect(await worker('two').ask()).toEqual({ type: 'none' })
      await under.pass(31_000)
      expect((await worker('two').claim()).offer.id).toBe('b.1')
    },
    limits,
  )

  add(
    'a job whose worker may come back takes up room',
    async ({ jobs, under, worker }) => {
      const one = worker('one')
      await jobs.offer(offerOf('a.1', { provider: 'p', model: 'p/m' }))
      await jobs.offer(offerOf('b.1', { provider: 'p', model: 'p/m' }))
      await one.beat(await one.claim())
      await under.pass(60_000)
      expect(await worker('two').ask()).toEqual({ type: 'none' })
      await under.pass(300_000)
      expect((await worker('two').claim()).offer.id).toBe('b.1')
    },
    limits,
  )

  add('a worker of another protocol is refused with the reason', async ({ jobs, worker }) => {
    await jobs.offer(offerOf('a.1'))
    expect(await worker('one', { protocol: 0 }).ask()).toMatchObject({
      type: 'refused',
      why: expect.stringContaining('protocol'),
    })
  })

  add('a worker with the name of another that is alive is refused, until that is gone', async (stage) => {
    const { jobs, under, worker } = stage
    await worker('one').ask()
    const copy = worker('one', { identity: 'another disk', process: 'copy' })
    await jobs.offer(offerOf('a.1'))
    expect(await copy.ask()).toMatchObject({ type: 'refused', why: expect.stringContaining('--name') })
    await under.pass(31_000)
    expect((await copy.claim()).offer.id).toBe('a.1')
  })

  add('beats keep the name of a worker', async ({ jobs, under, worker }) => {
    const one = worker('one')
    await jobs.offer(offerOf('a.1'))
    const claim = await one.claim()
    await under.pass(20_000)
    await one.beat(claim)
    await under.pass(20_000)
    const copy = worker('one', { identity: 'another disk', process: 'copy' })
    expect(await copy.ask()).toMatchObject({ type: 'refused' })
  })
}
