import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

/** Answers the first request of a child with 429 and a retry time, and all later ones with a text. */
function overload({ host, parentID }: FakeStage, retryAfterMs: number): void {
  let count = 0
  host.script = ({ sessionID }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    count += 1
    if (count > 1) return { text: 'done' }
    return { status: 429, text: 'slow down', headers: { 'retry-after-ms': String(retryAfterMs) } }
  }
}

const launchOn = ({ manager, parentID }: FakeStage, name: string, model: string) =>
  manager.launch({ parentID, agent: 'general', prompt: name, description: name, model })

test('while a child waits for its retry, no task of its provider starts, and other tasks do', async () => {
  const stage = createFakeStage()
  const { clock, host, manager } = stage
  host.models.add('other/m1')
  overload(stage, 10_000)
  await launchOn(stage, 'first', 'mock/m1')
  await clock.advance(100)
  const held = await launchOn(stage, 'held', 'mock/m2')
  const free = await launchOn(stage, 'free', 'other/m1')
  await clock.advance(5000)
  expect(manager.get(held.id)?.status).toBe('pending')
  expect(manager.heldFor(held.id)).toBeGreaterThan(0)
  expect(manager.get(free.id)?.status).toBe('completed')
  await clock.advance(8000)
  expect(manager.get(held.id)?.status).toBe('completed')
  expect(manager.heldFor(held.id)).toBeUndefined()
})

test('a held task can be cancelled, and a later retry extends the backoff', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, parentID } = stage
  let count = 0
  host.script = ({ sessionID }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    count += 1
    if (count > 2) return { text: 'done' }
    return { status: 429, text: 'slow down', headers: { 'retry-after-ms': '5000' } }
  }
  await launchOn(stage, 'first', 'mock/m1')
  await clock.advance(100)
  const cancelled = await launchOn(stage, 'cancelled', 'mock/m1')
  const held = await launchOn(stage, 'held', 'mock/m1')
  expect((await manager.cancel(cancelled.id))?.status).toBe('cancelled')
  await clock.advance(6500)
  // The second retry has arrived meanwhile.
  expect(manager.get(held.id)?.status).toBe('pending')
  await clock.advance(6000)
  expect(manager.get(held.id)?.status).toBe('completed')
  expect(manager.get(cancelled.id)?.status).toBe('cancelled')
})

test('a disposed instance leaves no timer of a provider backoff', async () => {
  const stage = createFakeStage()
  const { clock, manager } = stage
  overload(stage, 60_000)
  await launchOn(stage, 'first', 'mock/m1')
  await clock.advance(100)
  await launchOn(stage, 'held', 'mock/m1')
  await manager.dispose()
  await clock.advance(70_000)
  expect(clock.pending).toBe(0)
})

/** Five hours: a provider can request such a wait when a quota is used up. */
const LONG_MS = 18_000_000

test('R9: the provider backoff ends when the child that caused it is cancelled', async () => {
  const stage = createFakeStage()
  const { clock, manager } = stage
  overload(stage, LONG_MS)
  const first = await launchOn(stage, 'first', 'mock/m1')
  await clock.advance(100)
  const held = await launchOn(stage, 'held', 'mock/m1')
  await clock.advance(1000)
  expect(manager.get(held.id)?.status).toBe('pending')
  expect(manager.retryOf(first.id)).toMatchObject({
    attempt: 1,
    message: expect.stringContaining('slow down'),
  })
  const cancelled = manager.cancel(first.id)
  await clock.advance(5000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(manager.get(held.id)?.status).toBe('completed')
  expect(manager.retryOf(first.id)).toBeUndefined()
})

test('R9: a provider backoff of hours lets one more task start every ten minutes', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, parentID } = stage
  host.script = ({ sessionID }) =>
    sessionID === parentID
      ? { text: 'Noted.' }
      : { status: 429, text: 'slow down', headers: { 'retry-after-ms': String(LONG_MS) } }
  for (const name of ['first', 'second', 'third']) {
    await launchOn(stage, name, 'mock/m1')
    await clock.advance(100)
  }
  const pending = (): number => manager.list(parentID).filter(({ status }) => status === 'pending').length
  expect(pending()).toBe(2)
  await clock.advance(590_000)
  expect(pending()).toBe(2)
  await clock.advance(20_000)
  expect(pending()).toBe(1)
  await clock.advance(600_000)
  expect(pending()).toBe(0)
})

test('R9: a later retry does not postpone the next start of a held task', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, parentID } = stage
  const late = { promise: Promise.resolve(), resolve: (): void => {} }
  late.promise = new Promise((resolve) => (late.resolve = resolve))
  const off = { status: 429, text: 'slow down', headers: { 'retry-after-ms': String(LONG_MS) } }
  host.script = async ({ sessionID, messages }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    if (messages.some(({ content }) => content === 'late')) await late.promise
    return off
  }
  for (const name of ['late', 'first', 'held']) {
    await launchOn(stage, name, 'mock/m1')
    await clock.advance(100)
  }
  const held = manager.list(parentID).at(-1)?.id ?? ''
  await clock.advance(540_000)
  late.resolve()
  await clock.advance(50_000)
  expect(manager.get(held)?.status).toBe('pending')
  await clock.advance(12_000)
  expect(manager.get(held)?.status).toBe('running')
})
