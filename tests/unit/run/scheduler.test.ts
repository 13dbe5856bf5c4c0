import { expect, test } from 'vitest'
import { Scheduler } from '../../../src/run/scheduler.ts'

interface Job {
  started: boolean
  finish: () => void
}

function schedule(scheduler: Scheduler, id: string): Job {
  const job: Job = { started: false, finish: () => {} }
  const done = new Promise<void>((resolve) => {
    job.finish = resolve
  })
  scheduler.add(id, () => {
    job.started = true
    return done
  })
  return job
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('never more than the limit run, and the rest start in the order of their arrival', async () => {
  const scheduler = new Scheduler({ total: 2 })
  const jobs = ['a', 'b', 'c', 'd'].map((id) => schedule(scheduler, id))
  expect(jobs.map((job) => job.started)).toEqual([true, true, false, false])
  jobs[1]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, true, true, false])
})

test('a waiting job knows its place, a running one has none', () => {
  const scheduler = new Scheduler({ total: 1 })
  for (const id of ['a', 'b', 'c']) schedule(scheduler, id)
  expect(['a', 'b', 'c', 'x'].map((id) => scheduler.place(id))).toEqual([undefined, 0, 1, undefined])
})

test('a removed job never starts, and its place goes to the next', async () => {
  const scheduler = new Scheduler({ total: 1 })
  const jobs = ['a', 'b', 'c'].map((id) => schedule(scheduler, id))
  expect(scheduler.remove('b')).toBe(true)
  jobs[0]?.finish()
  await settle()
  expect(jobs.map((job) => job.started)).toEqual([true, false, true])
})

test('a running job cannot be removed, and keeps its slot until it has settled', async () => {
  const scheduler = new Scheduler({ total: 1 })
  const jobs = ['a', 'b'].map((id) => schedule(scheduler, id))
  expect(scheduler.remove('a')).toBe(false)
  await settle()
  expect(jobs[1]?.started).toBe(false)
})
