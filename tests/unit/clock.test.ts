import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'

const DAY_MS = 24 * 60 * 60 * 1000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('systemClock supports a delay above the maximum of setTimeout', () => {
  const fired: string[] = []
  systemClock.after(60 * DAY_MS, () => fired.push('long'))
  systemClock.after(2 ** 31 - 1, () => fired.push('longest'))
  systemClock.after(2 ** 31, () => fired.push('longer'))
  vi.advanceTimersByTime(2 ** 31 - 2)
  expect(fired).toEqual([])
  vi.advanceTimersByTime(1)
  expect(fired).toEqual(['longest'])
  vi.advanceTimersByTime(1)
  expect(fired).toEqual(['longest', 'longer'])
  vi.advanceTimersByTime(60 * DAY_MS)
  expect(fired).toEqual(['longest', 'longer', 'long'])
  expect(vi.getTimerCount()).toBe(0)
})

test('an infinite delay never fires, and can be cancelled at any time', () => {
  const callback = vi.fn<() => void>()
  const cancels = [systemClock.after(Infinity, callback), systemClock.after(100 * DAY_MS, callback)]
  vi.advanceTimersByTime(50 * DAY_MS)
  for (const cancel of cancels) cancel()
  expect(vi.getTimerCount()).toBe(0)
  vi.advanceTimersByTime(100 * DAY_MS)
  expect(callback).not.toHaveBeenCalled()
})

test('a zero, negative or invalid delay fires at once, and once', () => {
  const callback = vi.fn<() => void>()
  for (const delayMs of [0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) systemClock.after(delayMs, callback)
  vi.advanceTimersByTime(1)
  expect(callback).toHaveBeenCalledTimes(4)
})
