import { expect, test } from 'vitest'
import { pause } from '../../src/pause.ts'
import { ManualClock } from '../harness/manual-clock.ts'

test('a signal ends a pause, and nothing of it remains', async () => {
  const clock = new ManualClock()
  const stop = new AbortController()
  const paused = pause(clock, 1000, [stop.signal])
  stop.abort()
  await paused
  expect(clock.pending).toBe(0)
})

test('a pause after the abort of its signal ends at once', async () => {
  const clock = new ManualClock()
  await pause(clock, 1000, [new AbortController().signal, AbortSignal.abort()])
  expect(clock.pending).toBe(0)
})
