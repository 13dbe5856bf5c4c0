import { expect, test } from 'vitest'
import { HostError } from '../../src/host/opencode.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

test('cancelled while its answer is under way: the task ends once, and is told exactly if it was completed', async () => {
  // The end of the child moves over the moment of the cancel, a millisecond at a time.
  for (let lead = -8; lead <= 8; lead += 1) {
    const { clock, manager, launch, answer, notices, noticeTurns } = createFakeStage()
    const { id } = await launch('race')
    await clock.advance(100)
    if (lead < 0) answer('race')
    await clock.advance(Math.abs(lead))
    const cancelled = manager.cancel(id)
    if (lead >= 0) answer('race')
    await clock.advance(10_000)
    const task = await cancelled
    expect(['completed', 'cancelled']).toContain(task?.status)
    expect(notices()).toHaveLength(task?.status === 'completed' ? 1 : 0)
    expect(noticeTurns()).toHaveLength(notices().length)
  }
})

test('cancelled while it is being prompted: the turn that begins all the same is stopped', async () => {
  // From the moment of the launch until well after the turn has begun, a millisecond at a time.
  for (let delay = 0; delay <= 12; delay += 1) {
    const { clock, host, manager, launch, notices } = createFakeStage()
    const { id, sessionID } = await launch('race')
    await clock.advance(delay)
    const cancelled = manager.cancel(id)
    await clock.advance(10_000)
    expect(await cancelled).toMatchObject({ status: 'cancelled', by: 'parent' })
    expect(await host.opencode.statuses()).not.toHaveProperty(sessionID)
    expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toEqual([])
    expect(notices()).toEqual([])
  }
})

test('a slot is free only when the cancelled work has really stopped', async () => {
  const { clock, host, manager, launch } = createFakeStage({ concurrency: { total: 1 } })
  host.runTool = () => new Promise(() => {})
  const first = await launch('first')
  host.script = ({ sessionID }) =>
    sessionID === first.sessionID ? { tools: [{ name: 'bash', args: {} }] } : new Promise(() => {})
  const second = await launch('second')
  await clock.advance(100)
  const cancelled = manager.cancel(first.id)
  await clock.advance(100)
  // In a tool an abort takes 285 ms to be final (contract 1.10).
  expect(manager.get(first.id)?.status).toBe('running')
  expect(manager.get(second.id)?.status).toBe('pending')
  await clock.advance(300)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(manager.get(second.id)?.status).toBe('running')
  const last = manager.cancel(second.id)
  await clock.advance(5000)
  expect((await last)?.status).toBe('cancelled')
})

test('an abort that the host did not hear is sent again', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const { id } = await launch('deaf')
  await clock.advance(100)
  host.failNext('abort')
  const cancelled = manager.cancel(id)
  await clock.advance(20_000)
  expect((await cancelled)?.status).toBe('cancelled')
})

test('all are cancelled: no slot that becomes free is given to one that is to be stopped as well', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage({ concurrency: { total: 2 } })
  for (const name of ['a', 'b', 'c', 'd']) await launch(name)
  await clock.advance(100)
  const all = manager.cancelAll(parentID)
  await clock.advance(10_000)
  expect(await all).toBe(4)
  expect(manager.list(parentID).map(({ status }) => status)).toEqual(Array(4).fill('cancelled'))
  expect(host.modelRequests).toHaveLength(2)
})

test('cancelled while its prompt hangs: the prompt is not sent again, and nothing runs', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.hangNext('prompt')
  const { id } = await launch('late')
  await clock.advance(100)
  const cancelled = manager.cancel(id)
  await clock.advance(60_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(host.modelRequests).toEqual([])
})

test('cancelled just when a prompt is sent again: the turn that begins late is stopped', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.hangNext('prompt')
  const { id } = await launch('late')
  await clock.advance(15_001)
  const cancelled = manager.cancel(id)
  await clock.advance(20_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toEqual([])
})

test('cancelled between two steps of which the first has failed: cancelled, and not told', async () => {
  const { clock, host, manager, launch, notices, parentID } = createFakeStage()
  host.runTool = () => {
    throw new Error('no such file')
  }
  host.script = ({ sessionID }) =>
    sessionID === parentID ? { text: 'Noted.' } : { tools: [{ name: 'read', args: {} }] }
  const { id, sessionID } = await launch('stumble')
  await clock.advance(30)
  // What is left when the abort comes before the next step has a message: a failed tool, and an idle session.
  const stored = host.messagesOf(sessionID)
  const step = stored.findLastIndex(({ info }) => info.role === 'assistant' && info.finish !== undefined)
  const messages = host.opencode.messages.bind(host.opencode)
  host.opencode.messages = (asked) =>
    asked === sessionID ? Promise.resolve(stored.slice(0, step + 1)) : messages(asked)
  const cancelled = manager.cancel(id)
  await clock.advance(10_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(notices()).toEqual([])
})

test('a session that cannot be read gives its slot back after a time, and its cancel returns', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage({ concurrency: { total: 1 } })
  const broken = await launch('broken')
  const next = await launch('next')
  await clock.advance(100)
  const messages = host.opencode.messages.bind(host.opencode)
  // Events would prove the end without a read.
  host.muteEvents = true
  host.opencode.messages = (sessionID) =>
    sessionID === broken.sessionID
      ? Promise.reject(new HostError('refused', 'the database is locked'))
      : messages(sessionID)
  answer('broken')
  await clock.advance(120_000)
  expect(manager.get(broken.id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  expect(notices().join('\n')).toContain('the database is locked')
  expect(manager.get(next.id)?.status).toBe('running')
  host.opencode.messages = () => Promise.reject(new HostError('refused', 'the database is locked'))
  const cancelled = manager.cancel(next.id)
  await clock.advance(120_000)
  expect((await cancelled)?.status).toBe('cancelled')
})

test('cancelled while its prompt is long on its way: the turn that begins when it arrives is stopped', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const latencies = [0, 0, 0, 0, 0, 0, 0, 0]
  host.latencyMs = () => latencies.shift() ?? 4000
  const { id, sessionID } = await launch('late')
  host.latencyMs = () => 0
  await clock.advance(100)
  const cancelled = manager.cancel(id)
  await clock.advance(30_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(host.messagesOf(sessionID)).not.toHaveLength(0)
  expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toEqual([])
})
