import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isEnded,
  transition,
  type Outcome,
  type Task,
  type TaskEvent,
  type TaskStatus,
} from '../../../src/task/task.ts'
import { pendingTask, USAGE } from '../../harness/tasks.ts'

const completed: Outcome = { status: 'completed', text: 'done', usage: USAGE }
const failed: Outcome = {
  status: 'failed',
  failure: { reason: 'error', message: 'bad' },
  text: '',
  usage: USAGE,
}
const cancelled: Outcome = { status: 'cancelled', by: 'user', text: '', usage: USAGE }

const slotTaken: TaskEvent = { type: 'slotTaken', at: 2 }
const prompted: TaskEvent = { type: 'prompted', at: 3 }
const end = (outcome: Outcome): TaskEvent => ({ type: 'ended', at: 4, outcome })

function after(...events: TaskEvent[]): Task | undefined {
  return events.reduce<Task | undefined>((task, event) => task && transition(task, event), pendingTask())
}

describe('transition', () => {
  test('a task goes from pending over starting to running and keeps the time at which it took its slot', () => {
    expect(after(slotTaken)).toMatchObject({ status: 'starting', startedAt: 2 })
    expect(after(slotTaken, prompted)).toMatchObject({ status: 'running', startedAt: 2 })
  })

  test('a task may end while it is still being prompted, since events can be faster than answers', () => {
    expect(after(slotTaken, end(completed))).toMatchObject({ status: 'completed', startedAt: 2, endedAt: 4 })
  })

  test('a pending task can be cancelled or fail, but has nothing to complete', () => {
    expect(after(end(cancelled))).toMatchObject({ status: 'cancelled', by: 'user', endedAt: 4 })
    expect(after(end(failed))).toMatchObject({ status: 'failed', failure: { reason: 'error' } })
    expect(after(end(completed))).toBeUndefined()
  })

  test('a cancelled pending task has no start', () => {
    expect(after(end(cancelled))).not.toHaveProperty('startedAt')
  })

  test('an event that does not fit loses its race', () => {
    expect(after(prompted)).toBeUndefined()
    expect(after(slotTaken, slotTaken)).toBeUndefined()
    expect(after(slotTaken, prompted, prompted)).toBeUndefined()
  })

  test('the text of the result is not kept in the task: it lives in the session', () => {
    expect(after(slotTaken, end(completed))).not.toHaveProperty('text')
  })

  test('the prompt is kept until an answer shows that the session holds it', () => {
    expect(after(slotTaken, prompted, end(failed))).toMatchObject({ prompt: 'Find them.' })
    expect(after(slotTaken, prompted, end(cancelled))).toMatchObject({ prompt: 'Find them.' })
    expect(after(slotTaken, prompted, end(completed))).toMatchObject({ prompt: '' })
  })

  test('whatever happens, a task ends once, and its status only moves forward', () => {
    const order: TaskStatus[] = ['pending', 'starting', 'running', 'completed']
    const rank = (task: Task): number => (isEnded(task) ? order.length : order.indexOf(task.status))
    const anyEvent = fc.constantFrom(slotTaken, prompted, end(completed), end(failed), end(cancelled))
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        let task: Task = pendingTask()
        let ends = 0
        for (const event of events) {
          const next = transition(task, event)
          if (!next) continue
          expect(rank(next)).toBeGreaterThan(rank(task))
          if (isEnded(next)) ends += 1
          task = next
        }
        expect(ends).toBe(isEnded(task) ? 1 : 0)
      }),
      { seed: 20261121 },
    )
  })
})
