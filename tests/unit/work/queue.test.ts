import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Scheduler, type Claim } from '../../../src/work/queue.ts'

interface Job {
  started: boolean
  finish: () => void
}

function schedulerOf(total: number, limits: object = {}): Scheduler {
  return new Scheduler({ total, providers: {}, models: {}, ...limits })
}

function schedule(scheduler: Scheduler, id: string, claim: Partial<Claim> = {}): Job {
  const job: Job = { started: false, finish: () => {} }
  const done = new Promise<void>((resolve) => {
    job.finish = resolve
  })
  scheduler.add({ id, parentID: 'ses_parent', ...claim }, () => {
    job.started = true
    return done
  })
  return job
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('never more than the limit run, and the rest start in the order of their arrival', async () => {
  const scheduler = schedulerOf(2)
  const jobs = ['a', 'b', 'c', 'd'].map((id) => schedule(scheduler, id))
  expect(jobs.map((job) => job.started)).toEqual([true, true, false, false])
  jobs[1]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, true, true, false])
})

test('a waiting job knows its place, a running one has none', () => {
  const scheduler = schedulerOf(1)
  for (const id of ['a', 'b', 'c']) schedule(scheduler, id)
  expect(['a', 'b', 'c', 'x'].map((id) => scheduler.place(id))).toEqual([undefined, 0, 1, undefined])
})

test('a removed job never starts, and its place goes to the next', async () => {
  const scheduler = schedulerOf(1)
  const jobs = ['a', 'b', 'c'].map((id) => schedule(scheduler, id))
  expect(scheduler.remove('b')).toBe(true)
  jobs[0]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, false, true])
})

test('a running job cannot be removed, and keeps its slot until it has settled', async () => {
  const scheduler = schedulerOf(1)
  const jobs = ['a', 'b'].map((id) => schedule(scheduler, id))
  expect(scheduler.remove('a')).toBe(false)
  await settle()
  expect(jobs[1]?.started).toBe(false)
})

const claim = (providerID: string, modelID: string, parentID = 'ses_parent'): Partial<Claim> => ({
  parentID,
  model: { providerID, modelID },
})

test('the strictest limit holds: of a model, of its provider, of all', () => {
  const scheduler = schedulerOf(3, { providers: { p: 2 }, models: { 'p/m': 1 } })
  const started = [
    schedule(scheduler, 'a', claim('p', 'm')),
    schedule(scheduler, 'b', claim('p', 'm')),
    schedule(scheduler, 'c', claim('p', 'n')),
    schedule(scheduler, 'd', claim('p', 'o')),
    schedule(scheduler, 'e', claim('q', 'm')),
    schedule(scheduler, 'f', claim('q', 'm')),
  ].map((job) => job.started)
  expect(started).toEqual([true, false, true, false, true, false])
})

test('what waits for a slot of its model holds no slot of all', async () => {
  const scheduler = schedulerOf(2, { models: { 'p/m': 1 } })
  const first = schedule(scheduler, 'a', claim('p', 'm'))
  const second = schedule(scheduler, 'b', claim('p', 'm'))
  expect(schedule(scheduler, 'c', claim('p', 'n')).started).toBe(true)
  first.finish()
  await settle()
  expect(second.started).toBe(true)
})

test('removed while it waits in a nested queue, a job leaves no slot behind', async () => {
  const scheduler = schedulerOf(1, { models: { 'p/m': 1 } })
  const running = schedule(scheduler, 'a', claim('p', 'n'))
  const removed = schedule(scheduler, 'b', claim('p', 'm'))
  const next = schedule(scheduler, 'c', claim('p', 'm'))
  expect(scheduler.remove('b')).toBe(true)
  running.finish()
  await settle()
  expect([removed.started, next.started]).toEqual([false, true])
})

test('parents take turns: one with many tasks does not starve the one task of another', async () => {
  const scheduler = schedulerOf(1)
  const order: string[] = []
  const finishers: (() => void)[] = []
  const add = (id: string, parentID: string): void =>
    scheduler.add({ id, parentID }, () => {
      order.push(id)
      return new Promise((resolve) => finishers.push(resolve))
    })
  for (let index = 0; index < 100; index += 1) add(`many ${index}`, 'ses_many')
  add('one', 'ses_one')
  expect(scheduler.place('many 1')).toBe(0)
  expect(scheduler.place('one')).toBe(1)
  for (let turn = 0; turn < 3; turn += 1) {
    finishers[turn]?.()
    await settle()
  }
  expect(order).toEqual(['many 0', 'many 1', 'one', 'many 2'])
})

test('the place of a job is that in the queue where it waits, and its own parent counts in its order', () => {
  const scheduler = schedulerOf(1)
  for (const id of ['run', 'a1', 'a2', 'a3']) schedule(scheduler, id, { parentID: 'ses_a' })
  for (const id of ['b1', 'b2']) schedule(scheduler, id, { parentID: 'ses_b' })
  expect(['a1', 'b1', 'a2', 'b2', 'a3'].map((id) => scheduler.place(id))).toEqual([0, 1, 2, 3, 4])
})

test('the place of each job is the number of those that really start before it, whoever was removed', async () => {
  const jobs = fc.array(fc.record({ parent: fc.nat(3), removed: fc.boolean() }), {
    minLength: 1,
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(jobs, async (specs) => {
      const scheduler = schedulerOf(1)
      const first = schedule(scheduler, 'first')
      const started: string[] = []
      for (const [index, { parent }] of specs.entries()) {
        scheduler.add({ id: `${index}`, parentID: `${parent}` }, () => {
          started.push(`${index}`)
          return Promise.resolve()
        })
      }
      const left = specs.flatMap(({ removed }, index) => {
        if (removed) scheduler.remove(`${index}`)
        return removed ? [] : [`${index}`]
      })
      const places = left.toSorted((a, b) => (scheduler.place(a) ?? 0) - (scheduler.place(b) ?? 0))
      expect(left.map((id) => scheduler.place(id)).toSorted((a = 0, b = 0) => a - b)).toEqual([
        ...left.keys(),
      ])
      first.finish()
      for (let turn = 0; turn <= specs.length; turn += 1) await settle()
      expect(started).toEqual(places)
    }),
    { seed: 20261121 },
  )
})

test('with any jobs, limits and removals no limit is passed, and each job that stays runs once', async () => {
  const jobs = fc.array(
    fc.record({ model: fc.constantFrom('p/m', 'p/n', 'q/m'), parent: fc.nat(2), removed: fc.boolean() }),
    { maxLength: 30 },
  )
  const limits = fc.record({
    total: fc.integer({ min: 1, max: 4 }),
    p: fc.integer({ min: 1, max: 3 }),
    pm: fc.integer({ min: 1, max: 2 }),
  })
  await fc.assert(
    fc.asyncProperty(jobs, limits, async (specs, { total, p, pm }) => {
      const scheduler = schedulerOf(total, { providers: { p }, models: { 'p/m': pm } })
      const running = new Map<string, string>()
      const ran = new Map<string, number>()
      const removed = new Set<string>()
      const finishers: (() => void)[] = []
      for (const [index, spec] of specs.entries()) {
        const [providerID = '', modelID = ''] = spec.model.split('/')
        const id = `${index}`
        scheduler.add({ id, parentID: `${spec.parent}`, model: { providerID, modelID } }, () => {
          ran.set(id, (ran.get(id) ?? 0) + 1)
          running.set(id, spec.model)
          const models = [...running.values()]
          expect(models.length).toBeLessThanOrEqual(total)
          expect(models.filter((model) => model.startsWith('p/')).length).toBeLessThanOrEqual(p)
          expect(models.filter((model) => model === 'p/m').length).toBeLessThanOrEqual(pm)
          return new Promise((resolve) =>
            finishers.push(() => {
              running.delete(id)
              resolve()
            }),
          )
        })
        if (spec.removed && scheduler.remove(id)) removed.add(id)
      }
      for (let next = finishers.shift(); next; next = finishers.shift()) {
        next()
        await settle()
      }
      const expected = specs.map((_, index) => `${index}`).filter((id) => !removed.has(id))
      expect([...ran.keys()].sort()).toEqual(expected.sort())
      expect([...ran.values()].every((count) => count === 1)).toBe(true)
    }),
    { seed: 20261121, numRuns: 200 },
  )
})
