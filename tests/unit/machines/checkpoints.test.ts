import { beforeEach, expect, test } from 'vitest'
import { Checkpoints } from '../../../src/machines/checkpoints.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

/** Each fetch waits until the test finishes it. */
let clock: ManualClock
let checkpoints: Checkpoints
let finish: (() => void)[]

beforeEach(() => {
  clock = new ManualClock()
  finish = []
  checkpoints = new Checkpoints(clock, () => new Promise((resolve) => finish.push(resolve)))
  checkpoints.start()
})

test('files are fetched five minutes after the last fetch', async () => {
  await clock.advance(299_999)
  expect(finish).toHaveLength(0)
  await clock.advance(1)
  expect(finish).toHaveLength(1)
  await clock.advance(600_000)
  expect(finish).toHaveLength(1)
  finish[0]?.()
  await clock.advance(300_000)
  expect(finish).toHaveLength(2)
})

test('files are fetched after 20 tool calls, one fetch at a time', async () => {
  for (let calls = 0; calls < 19; calls += 1) checkpoints.count()
  expect(finish).toHaveLength(0)
  for (let calls = 0; calls < 40; calls += 1) checkpoints.count()
  expect(finish).toHaveLength(1)
})

test('no fetch follows a stop, also of one under way', async () => {
  await clock.advance(300_000)
  checkpoints.stop()
  finish[0]?.()
  await clock.advance(900_000)
  for (let calls = 0; calls < 40; calls += 1) checkpoints.count()
  expect(finish).toHaveLength(1)
  expect(clock.pending).toBe(0)
})
