import { expect, test } from 'vitest'
import { HostError } from '../../src/host/opencode.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

test('a cancel during the answer ends the task once, with a notice only if it completed', async () => {
  // Moves the end of the child across the moment of the cancel, in steps of 1 ms.
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

test('a cancel during the prompt stops the turn that still begins', async () => {
  // Cancels at each millisecond from the launch until well after the beginning of the turn.
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

test('an abort that OpenCode did not receive is sent again', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const { id } = await launch('deaf')
  await clock.advance(100)
  host.failNext('abort')
  const cancelled = manager.cancel(id)
  await clock.advance(20_000)
  expect((await cancelled)?.status).toBe('cancelled')
})

test('cancelAll starts no pending task in a slot that another cancelled task frees', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage({ concurrency: { total: 2 } })
  for (const name of ['a', 'b', 'c', 'd']) await launch(name)
  await clock.advance(100)
  const all = manager.cancelAll(parentID)
  await clock.advance(10_000)
  expect(await all).toBe(4)
  expect(manager.list(parentID).map(({ status }) => status)).toEqual(Array(4).fill('cancelled'))
  expect(host.modelRequests).toHaveLength(2)
})

test('after a cancel during a hanging prompt, the prompt is not sent again, and nothing runs', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.hangNext('prompt')
  const { id } = await launch('late')
  await clock.advance(100)
  const cancelled = manager.cancel(id)
  await clock.advance(60_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(host.modelRequests).toEqual([])
})

test('a cancel during a repeated prompt stops the turn that begins late', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.hangNext('prompt')
  const { id } = await launch('late')
  await clock.advance(15_001)
  const cancelled = manager.cancel(id)
  await clock.advance(20_000)
  expect((await cancelled)?.status).toBe('cancelled')
  expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toEqual([])
})

test('a task that is cancelled after a failed step is cancelled, and no notice follows', async () => {
  const { clock, host, manager, launch, notices, parentID } = createFakeStage()
  host.runTool = () => {
    throw new Error('no such file')
  }
  host.script = ({ sessionID }) =>
    sessionID === parentID ? { text: 'Noted.' } : { tools: [{ name: 'read', args: {} }] }
  const { id, sessionID } = await launch('stumble')
  await clock.advance(30)
  // The state after an abort before the next step has a message: a failed tool, and an idle session.
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

test('an unreadable child session frees its slot after a time, and its cancel returns', async () => {
  const { clock, host, manager, launch, answer, notices, parentID } = createFakeStage({
    concurrency: { total: 1 },
  })
  const broken = await launch('broken')
  const next = await launch('next')
  await clock.advance(100)
  const refuse = (): Promise<never> => Promise.reject(new HostError('refused', 'the database is locked'))
  const messages = host.opencode.messages.bind(host.opencode)
  const newestMessages = host.opencode.newestMessages.bind(host.opencode)
  host.opencode.newestMessages = (of, count) => (of === parentID ? newestMessages(of, count) : refuse())
  // Events would prove the end without a read.
  host.muteEvents = true
  host.opencode.messages = (sessionID) => (sessionID === broken.sessionID ? refuse() : messages(sessionID))
  answer('broken')
  await clock.advance(120_000)
  expect(manager.get(broken.id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  expect(notices().join('\n')).toContain('the database is locked')
  expect(manager.get(next.id)?.status).toBe('running')
  host.opencode.messages = refuse
  const cancelled = manager.cancel(next.id)
  await clock.advance(120_000)
  expect((await cancelled)?.status).toBe('cancelled')
})

test('a cancel while a slow prompt is in flight stops the turn that begins when it arrives', async () => {
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
