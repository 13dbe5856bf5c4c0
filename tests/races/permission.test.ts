import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('a task waits for all of its permission requests, names them, and then continues', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  const first = host.askPermission(sessionID, 'bash', 'rm -rf build')
  const second = host.askPermission(sessionID, 'edit', 'a.ts')
  await clock.advance(10)
  expect(manager.get(id)).toMatchObject({
    status: 'waiting',
    permissionRequests: [
      { permission: 'bash', patterns: ['rm -rf build'] },
      { permission: 'edit', patterns: ['a.ts'] },
    ],
  })
  const toasts = host.logged.filter(({ level }) => level === 'toast')
  expect(toasts.map(({ message }) => message)).toEqual([
    'clean (agent general) waits for a permission: bash rm -rf build',
    'clean (agent general) waits for a permission: edit a.ts',
  ])
  host.replyPermission(first, 'once')
  await clock.advance(10)
  expect(manager.get(id)?.status).toBe('waiting')
  host.replyPermission(second, 'reject')
  await clock.advance(10)
  expect(manager.get(id)?.status).toBe('running')
  answer('clean')
  await clock.advance(1000)
  expect(manager.get(id)?.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test('with permissionTimeoutMs, an unanswered request is rejected with a message, and the task continues', async () => {
  const { clock, host, manager, launch } = createFakeStage({ permissionTimeoutMs: 5000 })
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  const asked = host.askPermission(sessionID, 'bash', 'rm x')
  await clock.advance(4900)
  expect(host.rejections).toEqual([])
  await clock.advance(200)
  expect(host.rejections).toMatchObject([{ id: asked, message: expect.stringContaining('5 s') as string }])
  expect(manager.get(id)?.status).toBe('running')
})

test.each(['cancelled', 'answered'])(
  'the permission request of a task that was %s meanwhile is withdrawn',
  async (how) => {
    const { clock, host, manager, launch, answer } = createFakeStage({ permissionTimeoutMs: 60_000 })
    const { id, sessionID } = await launch('clean')
    await clock.advance(100)
    host.askPermission(sessionID, 'bash', 'rm x')
    await clock.advance(10)
    if (how === 'cancelled') void manager.cancel(id)
    else answer('clean')
    await clock.advance(5000)
    expect(manager.get(id)?.status).not.toBe('waiting')
    expect(host.permissions).toEqual([])
  },
)

test('a poll finds a permission request whose event was lost, and its reply', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  host.muteEvents = true
  const asked = host.askPermission(sessionID, 'bash', 'rm x')
  await clock.advance(40_000)
  expect(manager.get(id)?.status).toBe('waiting')
  host.replyPermission(asked, 'once')
  await clock.advance(40_000)
  expect(manager.get(id)?.status).toBe('running')
  // One poll in 30 s, for any number of waiting tasks.
  expect(host.calls.filter(({ method }) => method === 'permissions').length).toBeLessThanOrEqual(3)
})

test('a waiting task accepts a prompt, and ignores permission requests of other sessions', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage()
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  host.askPermission(parentID, 'bash', 'ls')
  await clock.advance(10)
  expect(manager.get(id)?.status).toBe('running')
  host.askPermission(sessionID, 'bash', 'rm x')
  await clock.advance(10)
  expect(await manager.continue(id, 'leave it')).toMatchObject({ status: 'waiting', run: 1 })
})

test('a run above timeoutMs is stopped, fails with its partial text, and frees its slot', async () => {
  const { clock, host, manager, launch, notices, parentID } = createFakeStage({
    timeoutMs: 60_000,
    concurrency: { total: 1 },
  })
  host.script = ({ sessionID, messages }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    if (messages.at(-1)?.role === 'tool') return new Promise(() => {})
    return { text: 'I begin.', tools: [{ name: 'read', args: {} }] }
  }
  const { id } = await launch('slow')
  const next = await launch('next')
  await clock.advance(59_000)
  expect(manager.get(id)?.status).toBe('running')
  await clock.advance(5000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  expect(notices()[0]).toContain('stopped after 1m 0s, which is its limit (timeoutMs)')
  expect(notices()[0]).toContain('<partial>I begin.</partial>')
  expect(manager.get(next.id)?.status).toBe('running')
  expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toHaveLength(1)
})

test('a permission request before the prompt is accepted is known, and withdrawn after the end', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.loseNextAnswer('prompt')
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  expect(manager.get(id)?.status).toBe('starting')
  host.askPermission(sessionID, 'bash', 'rm x')
  await clock.advance(10)
  expect(manager.get(id)?.status).toBe('waiting')
  void manager.cancel(id)
  await clock.advance(60_000)
  expect(manager.get(id)?.status).toBe('cancelled')
  expect(host.permissions).toEqual([])
})

test('a failed rejection is retried, so that the task continues', async () => {
  const { clock, host, manager, launch } = createFakeStage({ permissionTimeoutMs: 5000 })
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  host.askPermission(sessionID, 'bash', 'rm x')
  host.failNext('rejectPermission')
  await clock.advance(3_600_000)
  expect(manager.get(id)?.status).toBe('running')
})

test('a permission request that arrives during a poll stays open', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch } = stage
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  let asked = 0
  host.opencode.permissions = async () => {
    const snapshot = structuredClone(host.permissions)
    // The list is older than the request: its answer takes 20 ms, and the event arrives before it.
    clock.after(10, () => {
      if (asked++ === 0) host.askPermission(sessionID, 'bash', 'rm x')
    })
    await new Promise<void>((resolve) => clock.after(20, resolve))
    return snapshot
  }
  await clock.advance(36_000)
  expect(manager.get(id)?.status).toBe('waiting')
})

test('the toast of a permission request is short plain text on one line, for any command', async () => {
  const { clock, host, launch, answer } = createFakeStage()
  const { sessionID } = await launch('clean')
  await clock.advance(100)
  host.askPermission(sessionID, 'bash', `rm -rf one\n\u001B[31mrm -rf ${'and/so/on/'.repeat(1000)}`)
  await clock.advance(10)
  const toast = host.logged.find(({ level }) => level === 'toast')
  expect(toast?.message).toMatch(/waits for a permission: bash rm -rf one rm -rf and\/so\/on\/.*…$/)
  expect(toast?.message.length).toBeLessThanOrEqual(300)
  answer('clean')
  await clock.advance(1000)
})

test('R20: one notice reports after a minute that a task waits for permissions, and for which', async () => {
  const { clock, host, manager, launch, answer, notices, noticeTurns } = createFakeStage()
  const { id, sessionID } = await launch('clean')
  await clock.advance(100)
  const first = host.askPermission(sessionID, 'bash', 'rm x')
  await clock.advance(30_000)
  const second = host.askPermission(sessionID, 'edit', 'a.ts')
  await clock.advance(29_000)
  expect(notices()).toEqual([])
  await clock.advance(31_500)
  expect(notices()).toEqual([
    expect.stringContaining('It waits for a permission: bash rm x; edit a.ts. Only the user can give it'),
  ])
  await clock.advance(600_000)
  expect(notices()).toHaveLength(1)
  host.replyPermission(first, 'once')
  host.replyPermission(second, 'once')
  answer('clean')
  await clock.advance(5000)
  expect(manager.get(id)?.status).toBe('completed')
  expect(noticeTurns()).toHaveLength(2)
})

test.each(['answered', 'cancelled'])(
  'R20: no notice reports the wait of a task once it was %s',
  async (how) => {
    const { clock, host, manager, parentID, launch, answer, notices } = createFakeStage()
    const { id, sessionID } = await launch('clean')
    await clock.advance(100)
    host.userPrompt(parentID, 'occupy')
    const { script } = host
    host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
    await clock.advance(100)
    void host.userAbort(parentID)
    await clock.advance(100)
    const asked = host.askPermission(sessionID, 'bash', 'rm x')
    await clock.advance(61_000)
    if (how === 'answered') host.replyPermission(asked, 'once')
    else await Promise.all([manager.cancel(id), clock.advance(5000)])
    answer('clean')
    await clock.advance(5000)
    host.script = script
    host.userPrompt(parentID, 'go on')
    await clock.advance(5000)
    expect(notices().filter((notice) => notice.includes('It waits for a permission'))).toEqual([])
    expect(notices()).toHaveLength(how === 'answered' ? 1 : 0)
  },
)
