import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Queue, type QueueEntry } from '../../../src/work/queue.ts'

interface Job {
  started: boolean
  finish: () => void
}

function queueWith(total: number, limits: object = {}): Queue {
  return new Queue({ total, providers: {}, models: {}, ...limits })
}

function schedule(queue: Queue, id: string, claim: Partial<QueueEntry> = {}): Job {
  const job: Job = { started: false, finish: () => {} }
  const done = new Promise<void>((resolve) => {
    job.finish = resolve
  })
  queue.add({ id, parentID: 'ses_parent', ...claim }, () => {
    job.started = true
    return done
  })
  return job
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('the queue runs at most `total` jobs, and starts the others in the order of their arrival', async () => {
  const queue = queueWith(2)
  const jobs = ['a', 'b', 'c', 'd'].map((id) => schedule(queue, id))
  expect(jobs.map((job) => job.started)).toEqual([true, true, false, false])
  jobs[1]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, true, true, false])
})

test('a waiting job has a place, a running one has none', () => {
  const queue = queueWith(1)
  for (const id of ['a', 'b', 'c']) schedule(queue, id)
  expect(['a', 'b', 'c', 'x'].map((id) => queue.placeOf(id))).toEqual([undefined, 0, 1, undefined])
})

test('a removed job never starts, and its place goes to the next', async () => {
  const queue = queueWith(1)
  const jobs = ['a', 'b', 'c'].map((id) => schedule(queue, id))
  expect(queue.remove('b')).toBe(true)
  jobs[0]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, false, true])
})

test('a running job cannot be removed, and keeps its slot until it has settled', async () => {
  const queue = queueWith(1)
  const jobs = ['a', 'b'].map((id) => schedule(queue, id))
  expect(queue.remove('a')).toBe(false)
  await settle()
  expect(jobs[1]?.started).toBe(false)
})

const claim = (providerID: string, modelID: string, parentID = 'ses_parent'): Partial<QueueEntry> => ({
  parentID,
  model: { providerID, modelID },
})

test('the queue applies the strictest limit of model, provider and total', () => {
  const queue = queueWith(3, { providers: { p: 2 }, models: { 'p/m': 1 } })
  const started = [
    schedule(queue, 'a', claim('p', 'm')),
    schedule(queue, 'b', claim('p', 'm')),
    schedule(queue, 'c', claim('p', 'n')),
    schedule(queue, 'd', claim('p', 'o')),
    schedule(queue, 'e', claim('q', 'm')),
    schedule(queue, 'f', claim('q', 'm')),
  ].map((job) => job.started)
  expect(started).toEqual([true, false, true, false, true, false])
})

test('a job that waits for its model holds no slot of the total', async () => {
  const queue = queueWith(2, { models: { 'p/m': 1 } })
  const first = schedule(queue, 'a', claim('p', 'm'))
  const second = schedule(queue, 'b', claim('p', 'm'))
  expect(schedule(queue, 'c', claim('p', 'n')).started).toBe(true)
  first.finish()
  await settle()
  expect(second.started).toBe(true)
})

test('a job that is removed while it waits for its model leaves no slot taken', async () => {
  const queue = queueWith(1, { models: { 'p/m': 1 } })
  const running = schedule(queue, 'a', claim('p', 'n'))
  const removed = schedule(queue, 'b', claim('p', 'm'))
  const next = schedule(queue, 'c', claim('p', 'm'))
  expect(queue.remove('b')).toBe(true)
  running.finish()
  await settle()
  expect([removed.started, next.started]).toEqual([false, true])
})

test('parents take turns: one with many tasks does not starve the one task of another', async () => {
  const queue = queueWith(1)
  const order: string[] = []
  const finishers: (() => void)[] = []
  const add = (id: string, parentID: string): void =>
    queue.add({ id, parentID }, () => {
      order.push(id)
      return new Promise((resolve) => finishers.push(resolve))
    })
  for (let index = 0; index < 100; index += 1) add(`many ${index}`, 'ses_many')
  add('one', 'ses_one')
  expect(queue.placeOf('many 1')).toBe(0)
  expect(queue.placeOf('one')).toBe(1)
  for (let turn = 0; turn < 3; turn += 1) {
    finishers[turn]?.()
    await settle()
  }
  expect(order).toEqual(['many 0', 'many 1', 'one', 'many 2'])
})

test('the place of a job counts the round robin of parents, and the order within its parent', () => {
  const queue = queueWith(1)
  for (const id of ['run', 'a1', 'a2', 'a3']) schedule(queue, id, { parentID: 'ses_a' })
  for (const id of ['b1', 'b2']) schedule(queue, id, { parentID: 'ses_b' })
  expect(['a1', 'b1', 'a2', 'b2', 'a3'].map((id) => queue.placeOf(id))).toEqual([0, 1, 2, 3, 4])
})

test('the place of a job is the number of jobs that start before it, with any removals', async () => {
  const jobs = fc.array(fc.record({ parent: fc.nat(3), removed: fc.boolean() }), {
    minLength: 1,
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(jobs, async (specs) => {
      const queue = queueWith(1)
      const first = schedule(queue, 'first')
      const started: string[] = []
      for (const [index, { parent }] of specs.entries()) {
        queue.add({ id: `${index}`, parentID: `${parent}` }, () => {
          started.push(`${index}`)
          return Promise.resolve()
        })
      }
      const left = specs.flatMap(({ removed }, index) => {
        if (removed) queue.remove(`${index}`)
        return removed ? [] : [`${index}`]
      })
      const places = left.toSorted((a, b) => (queue.placeOf(a) ?? 0) - (queue.placeOf(b) ?? 0))
      expect(left.map((id) => queue.placeOf(id)).toSorted((a = 0, b = 0) => a - b)).toEqual([...left.keys()])
      first.finish()
      for (let turn = 0; turn <= specs.length; turn += 1) await settle()
      expect(started).toEqual(places)
    }),
    { seed: 20261121 },
  )
})

test('with any jobs, limits and removals no limit is exceeded, and each remaining job runs once', async () => {
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
      const queue = queueWith(total, { providers: { p }, models: { 'p/m': pm } })
      const running = new Map<string, string>()
      const ran = new Map<string, number>()
      const removed = new Set<string>()
      const finishers: (() => void)[] = []
      for (const [index, spec] of specs.entries()) {
        const [providerID = '', modelID = ''] = spec.model.split('/')
        const id = `${index}`
        queue.add({ id, parentID: `${spec.parent}`, model: { providerID, modelID } }, () => {
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
        if (spec.removed && queue.remove(id)) removed.add(id)
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
