import { expect, test } from 'vitest'
import { Executor, type RunnableKind } from '../../../src/work/executor.ts'
import { Queue } from '../../../src/work/queue.ts'
import { stopped, type StopCause } from '../../../src/work/outcome.ts'
import { TaskStore } from '../../../src/task/store.ts'
import { NO_USAGE, type Outcome } from '../../../src/task/state.ts'
import { isEnded } from '../../../src/task/task.ts'
import { transition } from '../../../src/task/transition.ts'
import { ManualClock } from '../../harness/manual-clock.ts'
import { pendingCommand, pendingTask } from '../../harness/tasks.ts'

const DONE: Outcome = { status: 'completed', text: '', usage: NO_USAGE }

function createExecutor(limit: number) {
  const clock = new ManualClock()
  const store = new TaskStore()
  const ends = new Map<string, (outcome: Outcome) => void>()
  const servers = new Set<string>()
  const kind: RunnableKind = {
    queue: new Queue({ total: limit, providers: {}, models: {} }),
    timeLimitOf: (task) => (task.kind === 'command' ? task.timeoutMs : 0),
    outlivesLimit: ({ id }) => servers.has(id),
    run(task, onStarted, stop) {
      onStarted()
      return new Promise((resolve) => {
        ends.set(task.id, resolve)
        stop.addEventListener('abort', () => resolve(stopped(stop.reason as StopCause)))
      })
    },
  }
  const instance = new AbortController()
  const disposal = instance.signal
  const executor = new Executor({ clock, store, kindOf: () => kind, disposal })
  const enqueue = (id: string): void => {
    const task = pendingTask({ id, sessionID: `ses_${id}` })
    store.add(task)
    executor.enqueue(task)
  }
  /** Resumes a task that another process has started. */
  const resume = (id: string): void => {
    const task = transition(pendingTask({ id, sessionID: `ses_${id}` }), { type: 'slotTaken', at: 0 })
    if (!task) throw new Error('a pending task did not take its slot')
    store.add(task)
    executor.resume(task)
  }
  const enqueueCommand = (id: string): void => {
    const task = { ...pendingCommand(), id, sessionID: `ses_${id}`, timeoutMs: 1000, timeoutIsDefault: true }
    store.add(task)
    executor.enqueue(task)
  }
  return { clock, store, ends, servers, enqueue, enqueueCommand, resume, endInstance: () => instance.abort() }
}

test('a resumed task takes a slot, and a later task waits for it', async () => {
  const { clock, store, ends, enqueue, resume } = createExecutor(1)
  resume('found')
  enqueue('later')
  await clock.advance(10)
  expect(store.get('found')?.status).toBe('running')
  expect(store.get('later')?.status).toBe('pending')
  ends.get('found')?.(DONE)
  await clock.advance(10)
  expect(store.get('later')?.status).toBe('running')
})

test('a resumed task runs even without a free slot, and leaves no slot taken', async () => {
  const { clock, store, ends, enqueue, resume } = createExecutor(1)
  enqueue('first')
  await clock.advance(10)
  resume('found')
  await clock.advance(10)
  expect(store.get('found')?.status).toBe('running')
  ends.get('found')?.(DONE)
  await clock.advance(10)
  const ended = store.get('found')
  expect(ended && isEnded(ended)).toBe(true)
  ends.get('first')?.(DONE)
  await clock.advance(10)
  enqueue('next')
  await clock.advance(10)
  expect(store.get('next')?.status).toBe('running')
})

test('a task that is found while the instance ends stays unchanged, for the next instance', async () => {
  const { clock, store, ends, resume, endInstance } = createExecutor(1)
  endInstance()
  resume('found')
  await clock.advance(10)
  expect(store.get('found')?.status).toBe('starting')
  expect(ends.size).toBe(0)
})

test('a server runs on after its default limit, and any other command is stopped', async () => {
  const { clock, store, servers, enqueueCommand } = createExecutor(2)
  servers.add('server')
  enqueueCommand('server')
  enqueueCommand('stuck')
  await clock.advance(1010)
  expect(store.get('server')?.status).toBe('running')
  expect(store.get('stuck')).toMatchObject({
    status: 'failed',
    failure: {
      reason: 'timeout',
      message: 'stopped after 1.0s, which is the default limit: give a timeout, or 0 for none',
    },
  })
})
