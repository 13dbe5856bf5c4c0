import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

/** Whether the wait of the parent is over. */
function wait({ manager, parentID }: FakeStage): { isOver: boolean } {
  const waiting = { isOver: false }
  void manager.waitForNotice(parentID).then(() => {
    waiting.isOver = true
    return undefined
  })
  return waiting
}

test('a session with nothing to wait for is not held', async () => {
  const stage = createFakeStage()
  const waiting = wait(stage)
  await stage.clock.advance(0)
  expect(waiting.isOver).toBe(true)
})

test('a session is held until a notice is in it, and again while it answers and others are at work', async () => {
  const stage = createFakeStage()
  const { clock, launch, answer, notices, host, parentID } = stage
  await launch('quick')
  await launch('slow')
  await clock.advance(100)
  const first = wait(stage)
  await clock.advance(5000)
  expect(first.isOver).toBe(false)
  // Its model has the notice before it, and has not answered it yet.
  host.script = ({ sessionID }) => (sessionID === parentID ? new Promise(() => {}) : { text: 'slow result' })
  answer('quick')
  await clock.advance(180)
  expect(first.isOver).toBe(false)
  await clock.advance(40)
  expect(first.isOver).toBe(true)
  expect(notices()).toHaveLength(1)
  await clock.advance(100)
  const second = wait(stage)
  await clock.advance(1000)
  expect(second.isOver).toBe(false)
  answer('slow')
  await clock.advance(1000)
  expect(second.isOver).toBe(true)
})

test('a session is held no longer than it may be in all', async () => {
  const stage = createFakeStage({ run: { waitMs: 3000 } })
  const { clock, launch } = stage
  await launch('endless')
  await clock.advance(100)
  const first = wait(stage)
  await clock.advance(2900)
  expect(first.isOver).toBe(false)
  await clock.advance(200)
  expect(first.isOver).toBe(true)
  const second = wait(stage)
  await clock.advance(0)
  expect(second.isOver).toBe(true)
})

test('a session whose last task it has cancelled itself is held no longer', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch } = stage
  const { id } = await launch('stopped')
  await clock.advance(100)
  const waiting = wait(stage)
  const cancelled = manager.cancel(id)
  await clock.advance(5000)
  await cancelled
  expect(waiting.isOver).toBe(true)
})
