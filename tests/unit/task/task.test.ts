import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Outcome, TaskStatus } from '../../../src/task/state.ts'
import { isEnded, type Task } from '../../../src/task/task.ts'
import { transition } from '../../../src/task/transition.ts'
import type { TaskEvent } from '../../../src/task/task-event.ts'
import { pendingCommand, pendingTask, USAGE } from '../../harness/tasks.ts'

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

/** Lists events of each type: the mapped type makes the compiler report a missing one. */
const EVENTS: { readonly [Type in TaskEvent['type']]: readonly Extract<TaskEvent, { type: Type }>[] } = {
  slotTaken: [{ type: 'slotTaken', at: 2 }],
  prompted: [{ type: 'prompted', at: 3 }],
  appended: [{ type: 'appended', prompt: 'And these.' }],
  released: [{ type: 'released', results: 'The build passed.' }],
  steered: [{ type: 'steered', promptID: 'msg_steer' }],
  monitored: [{ type: 'monitored', monitored: { matches: 3, notices: 1, at: 4 } }],
  outputMatched: [{ type: 'outputMatched', match: { text: 'ready', at: 4 } }],
  listening: [{ type: 'listening', listening: { port: 3000, at: 4 } }],
  placed: [{ type: 'placed', sessionID: 'ses_there', directory: '/there', url: 'http://there' }],
  contactLost: [{ type: 'contactLost', at: 4 }],
  contactFound: [{ type: 'contactFound' }],
  permissionAsked: ['one', 'two'].map((id) => ({
    type: 'permissionAsked',
    request: { id, permission: 'bash', patterns: ['rm x'] },
    at: 4,
  })),
  permissionUnanswered: ['one', 'two'].map((requestID) => ({
    type: 'permissionUnanswered',
    requestID,
    at: 5,
  })),
  permissionReplied: ['one', 'two'].map((requestID) => ({ type: 'permissionReplied', requestID, at: 9 })),
  ended: [completed, failed, cancelled].map((outcome) => ({ type: 'ended', at: 5, outcome })),
  treeRemoved: [{ type: 'treeRemoved', commit: 'c0ffee' }],
  continued: [{ type: 'continued', next: { createdAt: 6, prompt: 'more', promptIDs: ['msg_more'] } }],
}
const anyEvent = fc.constantFrom<TaskEvent>(...Object.values(EVENTS).flat())
/** Events that advance a task; the others only switch it between waiting and running, or change no status. */
const MOVING: ReadonlySet<TaskEvent['type']> = new Set(['slotTaken', 'ended', 'continued'])

function after(...events: TaskEvent[]): Task | undefined {
  return events.reduce<Task | undefined>((task, event) => task && transition(task, event), pendingTask())
}

describe('transition', () => {
  test('a task goes from pending to starting to running, and keeps the time at which it took its slot', () => {
    expect(after(slotTaken)).toMatchObject({ status: 'starting', startedAt: 2 })
    expect(after(slotTaken, prompted)).toMatchObject({ status: 'running', startedAt: 2 })
  })

  test('a task may end before its prompt is accepted, because events can arrive before the answer', () => {
    expect(after(slotTaken, end(completed))).toMatchObject({ status: 'completed', startedAt: 2, endedAt: 4 })
  })

  test('a pending task can be cancelled or fail, but cannot complete', () => {
    expect(after(end(cancelled))).toMatchObject({ status: 'cancelled', by: 'user', endedAt: 4 })
    expect(after(end(failed))).toMatchObject({ status: 'failed', failure: { reason: 'error' } })
    expect(after(end(completed))).toBeUndefined()
  })

  test('a cancelled pending task has no start', () => {
    expect(after(end(cancelled))).not.toHaveProperty('startedAt')
  })

  test('an event that does not fit the status is a lost race', () => {
    expect(after(prompted)).toBeUndefined()
    expect(after(slotTaken, slotTaken)).toBeUndefined()
    expect(after(slotTaken, prompted, prompted)).toBeUndefined()
  })

  test('a command records one output match, also from leftover processes after its end', () => {
    const events = [slotTaken, prompted, end(completed), ...EVENTS.outputMatched]
    const ended = events.reduce<Task | undefined>(
      (task, event) => task && transition(task, event),
      pendingCommand(),
    )
    expect(ended).toMatchObject({ status: 'completed', matched: { text: 'ready', at: 4 } })
    expect(ended && transition(ended, { type: 'outputMatched', match: { at: 9 } })).toBeUndefined()
    expect(after(slotTaken, prompted, end(completed), ...EVENTS.outputMatched)).toBeUndefined()
  })

  test.each([...EVENTS.outputMatched, ...EVENTS.listening])(
    'the event $type lifts a default time limit, but not a requested one',
    (event) => {
      const [byDefault, asked] = [true, false].map((timeoutIsDefault) =>
        [slotTaken, prompted, event].reduce<Task | undefined>(
          (task, next) => task && transition(task, next),
          { ...pendingCommand(), timeoutMs: 1000, timeoutIsDefault },
        ),
      )
      expect(byDefault).toMatchObject({ status: 'running', timeoutMs: 0 })
      expect(asked).toMatchObject({ status: 'running', timeoutMs: 1000 })
    },
  )

  test('a task does not store the text of its result, because the session has it', () => {
    expect(after(slotTaken, end(completed))).not.toHaveProperty('text')
  })

  test('a task stores its prompt until an answer shows that the session has it', () => {
    expect(after(slotTaken, prompted, end(failed))).toMatchObject({ prompt: 'Find them.' })
    expect(after(slotTaken, prompted, end(cancelled))).toMatchObject({ prompt: 'Find them.' })
    expect(after(slotTaken, prompted, end(completed))).toMatchObject({ prompt: '' })
  })

  test('with any events, each run ends once, and only moves forward until then', () => {
    const order: TaskStatus[] = ['pending', 'starting', 'running']
    /** Ranks a later run above all of an earlier one, and `waiting` like `running`. */
    const progress = (task: Task): number =>
      task.run * 10 + (isEnded(task) ? 4 : task.status === 'waiting' ? 2 : order.indexOf(task.status))
    fc.assert(
      fc.property(fc.constantFrom(pendingTask(), pendingCommand()), fc.array(anyEvent), (first, events) => {
        let task: Task = first
        const ends = new Map<number, number>()
        for (const event of events) {
          const next = transition(task, event)
          if (!next) continue
          expect(isEnded(next)).toBe(
            event.type === 'ended' || (event.type === 'outputMatched' && isEnded(task)),
          )
          if (event.type === 'ended') ends.set(next.run, (ends.get(next.run) ?? 0) + 1)
          expect(next.run).toBe(event.type === 'continued' ? task.run + 1 : task.run)
          expect(progress(next) - progress(task)).toBeGreaterThanOrEqual(MOVING.has(event.type) ? 1 : 0)
          expect(next.status !== 'waiting' || next.permissionRequests.length > 0).toBe(true)
          expect(next.kind === 'agent' || next.run === 1).toBe(true)
          task = next
        }
        const ended = Array.from({ length: isEnded(task) ? task.run : task.run - 1 }, (_, run) => run + 1)
        expect([...ends]).toEqual(ended.map((run) => [run, 1]))
      }),
      { seed: 20261121, numRuns: 2000 },
    )
  })
})
