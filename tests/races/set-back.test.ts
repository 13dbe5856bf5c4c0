import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

/** R25: a wait does not become longer when the machine's time is set back, as a time server does. */
const HOUR_MS = 3_600_000

test('R25: gathering notices are sent after 2 s, although the clock is set back', async () => {
  const { clock, setTime, launch, answer, notices } = createFakeStage({ concurrency: { total: 30 } })
  const names = Array.from({ length: 30 }, (_, index) => `task ${index}`)
  for (const name of names) await launch(name)
  await clock.advance(100)
  for (const [index, name] of names.slice(0, 16).entries()) {
    answer(name)
    if (index === 3) setTime(-HOUR_MS)
    await clock.advance(150)
  }
  expect(notices().length).toBeGreaterThan(10)
  for (const name of names) answer(name)
  await clock.advance(5000)
})

test('R25: a notice that started no turn is sent again on time, although the clock is set back', async () => {
  const { clock, host, setTime, launch, answer, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.swallowNextPrompt()
  answer('one')
  await clock.advance(1000)
  setTime(-HOUR_MS)
  await clock.advance(20_000)
  expect(noticeTurns()).toHaveLength(1)
})

test('R25: a notice reports an abort by the user after 2 s, although the clock is set back', async () => {
  const { clock, host, setTime, launch, notices } = createFakeStage()
  const { sessionID } = await launch('one')
  await clock.advance(100)
  void host.userAbort(sessionID)
  await clock.advance(1000)
  setTime(-HOUR_MS)
  await clock.advance(3000)
  expect(notices()).toMatchObject([expect.stringContaining('status="cancelled"')])
})

test('R25: a task with a lost prompt fails after the start timeout, although the clock is set back', async () => {
  const { clock, host, manager, setTime, launch } = createFakeStage({ startTimeoutMs: 10_000 })
  host.swallowNextPrompt()
  const { id } = await launch('one')
  await clock.advance(6000)
  setTime(-HOUR_MS)
  await clock.advance(12_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
})

test('R25: a provider backoff lasts as long as requested, although the clock is set back or forward', async () => {
  for (const ms of [-HOUR_MS, HOUR_MS]) {
    const { clock, host, manager, setTime, parentID } = createFakeStage()
    let count = 0
    host.script = ({ sessionID }) => {
      if (sessionID === parentID) return { text: 'Noted.' }
      count += 1
      if (count > 1) return { text: 'done' }
      return { status: 429, text: 'slow down', headers: { 'retry-after-ms': '10000' } }
    }
    const same = { parentID, agent: 'general', prompt: 'go', model: 'mock/m1' }
    await manager.launch({ ...same, description: 'first' })
    await clock.advance(100)
    const held = await manager.launch({ ...same, description: 'held' })
    setTime(ms)
    await clock.advance(5000)
    expect(manager.get(held.id)?.status).toBe('pending')
    expect(manager.heldFor(held.id)).toBeLessThan(6000)
    await clock.advance(7000)
    expect(manager.get(held.id)?.status).toBe('completed')
  }
})

test('R25: a stall is measured from the last event, although the clock is set back or forward', async () => {
  const { clock, manager, setTime, launch, answer } = createFakeStage({ stalledAfterMs: 60_000 })
  const { id } = await launch('one')
  await clock.advance(1000)
  setTime(HOUR_MS)
  expect(manager.stalledFor(id)).toBeUndefined()
  setTime(-2 * HOUR_MS)
  await clock.advance(70_000)
  expect(manager.stalledFor(id)).toBeGreaterThan(60_000)
  answer('one')
  await clock.advance(1000)
})

test('R25: a poll finds a permission request after half a minute, although the clock is set back', async () => {
  const { clock, host, manager, setTime, launch } = createFakeStage()
  host.runTool = async (_, sessionID) => {
    await host.needPermission(sessionID, 'bash', 'rm x')
    return 'removed'
  }
  host.script = (request) =>
    request.messages.at(-1)?.role === 'tool' ? { text: 'done' } : { tools: [{ name: 'bash', args: {} }] }
  host.eventDelays = ({ type }) => (type === 'permission.asked' ? [] : [0])
  const { id } = await launch('one')
  await clock.advance(1000)
  setTime(-HOUR_MS)
  await clock.advance(36_000)
  expect(manager.get(id)?.status).toBe('waiting')
})
