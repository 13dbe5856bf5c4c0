import { describe, expect, test } from 'vitest'
import { limitsOf, refuseBadBudget } from '../../../src/task/budget.ts'
import {
  budgetKey,
  raised,
  shareText,
  spendersText,
  spentOf,
  spentTogether,
  stateOf,
  useText,
  type Spent,
} from '../../../src/task/budget-use.ts'
import type { Budget } from '../../../src/task/state.ts'
import { workedMsOf, type Task } from '../../../src/task/task.ts'
import { transition } from '../../../src/task/transition.ts'
import type { TaskEvent } from '../../../src/task/task-event.ts'
import { completedTask, pendingTask } from '../../harness/tasks.ts'

const NOTHING: Spent = { cost: 0, tokens: 0, toolCalls: 0, minutes: 0 }
const spent = (changes: Partial<Spent>): Spent => ({ ...NOTHING, ...changes })
const MINUTE_MS = 60_000

describe('a budget', () => {
  test.each([
    [{ cost: 1 }, { cost: 0.79 }, 'within'],
    [{ cost: 1 }, { cost: 0.8 }, 'nearly'],
    [{ cost: 1 }, { cost: 0.999 }, 'nearly'],
    [{ cost: 1 }, { cost: 1 }, 'spent'],
    // The limit that is used most decides.
    [{ cost: 1, tokens: 100 }, { cost: 0.1, tokens: 90 }, 'nearly'],
    [{ toolCalls: 3, minutes: 5 }, { toolCalls: 1, minutes: 7 }, 'spent'],
    // Other uses have no limit.
    [{ cost: 1 }, { tokens: 1e9 }, 'within'],
    [{}, { cost: 1e9 }, 'within'],
  ] as [Budget, Partial<Spent>, string][])('%o of which %o is used is %s', (budget, used, state) => {
    expect(stateOf({ budget, spent: spent(used) })).toBe(state)
  })

  test('ten times ten cents spend a dollar, although their sum is below 1', () => {
    const dimes = spentTogether(Array.from({ length: 10 }, () => spent({ cost: 0.1 })))
    expect(dimes.cost).toBeLessThan(1)
    expect(stateOf({ budget: { cost: 1 }, spent: dimes })).toBe('spent')
  })

  test('the limits of a request replace those of the option, and 0 is none', () => {
    const option = { cost: 5, tokens: 0, toolCalls: 10, minutes: 0 }
    expect(limitsOf(option, { cost: 1, minutes: 2 })).toEqual({ cost: 1, toolCalls: 10, minutes: 2 })
    expect(limitsOf(option)).toEqual({ cost: 5, toolCalls: 10 })
    expect(limitsOf({ ...option, cost: 0, toolCalls: 0 })).toBeUndefined()
  })

  test('more is added to a limit, and a limit that a task did not have begins with what it has used', () => {
    const more = { cost: 1, tokens: 500 }
    expect(raised({ cost: 2, minutes: 3 }, more, spent({ cost: 2.5, tokens: 1000 }))).toEqual({
      cost: 3,
      tokens: 1500,
      minutes: 3,
    })
    expect(raised(undefined, { toolCalls: 2 }, spent({ toolCalls: 7 }))).toEqual({ toolCalls: 9 })
  })

  test('a limit that is not a number above 0 is refused', () => {
    // JavaScript would append the next budget to a text.
    for (const tokens of [0, -1, Number.NaN, Infinity, '5' as unknown as number])
      expect(() => refuseBadBudget({ tokens })).toThrow('budget.tokens: must be a number above 0')
    expect(() => refuseBadBudget({ cost: 0.001 })).not.toThrow()
    expect(() => refuseBadBudget(undefined)).not.toThrow()
  })

  test('its texts name the limit that is used most, and round the share down', () => {
    const use = { budget: { cost: 1, tokens: 10_000 }, spent: spent({ cost: 0.999, tokens: 2000 }) }
    expect(shareText(use)).toBe('99 % of $1.00')
    expect(useText(use)).toBe('$1.00 of $1.00, 2.0k tokens of 10.0k tokens')
    expect(shareText({ budget: { minutes: 10 }, spent: spent({ minutes: 3.14 }) })).toBe('31 % of 10 min')
    const tasks = [1, 4, 2, 3].map((cost) => ({ id: `bg_${cost}`, spent: spent({ cost }) }))
    expect(spendersText(use, [...tasks, { id: 'bg_0', spent: NOTHING }])).toBe(
      'bg_4 ($4.00), bg_3 ($3.00), bg_2 ($2.00)',
    )
  })

  test('its key depends on its limits alone, and not on their order', () => {
    expect(budgetKey({ tokens: 1, cost: 2 })).toBe(budgetKey({ cost: 2, tokens: 1 }))
    expect(budgetKey({ cost: 2 })).not.toBe(budgetKey({ tokens: 2 }))
    expect(budgetKey(undefined)).toBe(budgetKey({}))
  })
})

describe('what a task has used', () => {
  const usage = { toolCalls: 1, tokens: 100, cost: 0.5 }
  const run = (startedAt: number): TaskEvent[] => [
    { type: 'slotTaken', at: startedAt },
    { type: 'prompted', at: startedAt },
    { type: 'ended', at: startedAt + MINUTE_MS, outcome: { status: 'completed', text: 'done', usage } },
  ]
  const next: TaskEvent = {
    type: 'continued',
    next: { createdAt: 1, prompt: 'more', promptIDs: ['msg_more'] },
  }
  const after = (task: Task, ...events: TaskEvent[]): Task =>
    events.reduce<Task>((now, event) => transition(now, event) ?? now, task)

  test('is the sum over all of its runs, also of those that it no longer lists', () => {
    const runs = Array.from({ length: 12 }, (_, index) => [next, ...run(index * 10 * MINUTE_MS)]).flat()
    const task = after(pendingTask(), ...run(0), ...runs)
    expect(task).toMatchObject({ run: 13, earlier: { length: 8 }, workedBeforeMs: 4 * MINUTE_MS })
    expect(spentOf(task, undefined, 0)).toEqual({ cost: 6.5, tokens: 1300, toolCalls: 13, minutes: 13 })
    const going = after(task, next, { type: 'slotTaken', at: 1000 })
    expect(spentOf(going, usage, 1000 + MINUTE_MS)).toMatchObject({ tokens: 1400, minutes: 14 })
  })

  test('has no minutes of waits for a slot and for permissions', () => {
    const asked = (id: string, at: number): TaskEvent => ({
      type: 'permissionAsked',
      request: { id, permission: 'bash', patterns: [] },
      at,
    })
    const replied = (requestID: string, at: number): TaskEvent => ({
      type: 'permissionReplied',
      requestID,
      at,
    })
    const waiting = after(pendingTask(), { type: 'slotTaken', at: 1000 }, asked('a', 2000), asked('b', 3000))
    const worked = (task: Task, now: number): number => workedMsOf(task, now)
    expect(worked(waiting, 9000)).toBe(1000)
    const still = after(waiting, replied('a', 4000))
    expect(worked(still, 9000)).toBe(1000)
    const running = after(still, replied('b', 5000))
    expect(running).toMatchObject({ waitedMs: 3000 })
    expect(worked(running, 9000)).toBe(5000)
    const again = after(running, asked('c', 9000))
    const outcome = { status: 'cancelled', by: 'user', text: '', usage } as const
    const ended = after(again, { type: 'ended', at: 10_000, outcome })
    expect(ended).toMatchObject({ waitedMs: 4000 })
    expect(ended).not.toHaveProperty('waitingSince')
    expect(worked(ended, 99_000)).toBe(5000)
    expect(worked(pendingTask(), 9000)).toBe(0)
  })

  test('counts each run once, whether it has ended or works', () => {
    expect(spentOf(completedTask(), usage, 99_000)).toEqual(spentOf(completedTask(), undefined, 0))
  })
})
