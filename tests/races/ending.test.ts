import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('a child that finishes before its prompt is accepted is completed, with one notice', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  host.loseNextAnswer('prompt')
  answer('swift')
  const { id } = await launch('swift')
  await clock.advance(2000)
  expect(manager.get(id)?.status).toBe('completed')
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
  expect(host.modelRequests.filter(({ sessionID }) => sessionID === manager.get(id)?.sessionID)).toHaveLength(
    1,
  )
})

test('the timeline has the first output of the model, also before the prompt is accepted', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  const { id } = await launch('swift')
  host.latencyMs = () => 50
  answer('swift')
  await clock.advance(5000)
  const steps = manager.story(id)?.steps.map(stepText) ?? []
  expect(steps).toContain('the model answers')
  expect(steps.indexOf('the model answers')).toBeLessThan(steps.indexOf('completed'))
})

test('a prompt that OpenCode never received is sent again, and stored once', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  host.hangNext('prompt')
  answer('heard')
  const { id, sessionID } = await launch('heard')
  await clock.advance(60_000)
  expect(manager.get(id)?.status).toBe('completed')
  expect(host.messagesOf(sessionID).filter(({ info }) => info.role === 'user')).toHaveLength(1)
})

test('the timeline has each inconclusive end, and the fate of the notice', async () => {
  const { clock, manager, launch, answer } = createFakeStage()
  const { id } = await launch('bad')
  await clock.advance(100)
  answer('bad', { status: 400, text: 'too purple' })
  await clock.advance(10_000)
  expect(manager.story(id)?.steps.map(stepText)).toEqual([
    'queued',
    'starting',
    'running',
    expect.stringMatching(/^idle: failed if it stays idle for \d+ s$/),
    'idle: failed if it stays idle for 0.3 s',
    'failed: error: too purple',
    'notice owed',
    'notice sent',
    "notice confirmed: the parent's model has read it",
  ])
})

test('the timeline has the waits for a slot and for a permission, and the read of the end', async () => {
  const { clock, host, manager, launch, answer, read } = createFakeStage({ concurrency: { total: 1 } })
  const stepsOf = (id: string) => manager.story(id)?.steps.map(stepText)
  const first = await launch('first')
  const second = await launch('second')
  await clock.advance(100)
  expect(stepsOf(second.id)).toEqual(['queued'])
  const asked = host.needPermission(first.sessionID, 'bash', 'rm -rf build')
  await clock.advance(100)
  host.replyPermission(host.permissions[0]?.id ?? '', 'once')
  await asked
  const reading = read(first.id, { timeoutMs: 5000 })
  await clock.advance(20)
  answer('first')
  await clock.advance(5000)
  await reading
  expect(stepsOf(first.id)).toEqual([
    'queued',
    'starting',
    'running',
    'waiting for a permission: bash rm -rf build',
    'permission answered, running',
    'the model answers',
    'completed',
    'notice held: a tool call reads the end',
    'its end was read: no notice is owed',
  ])
  answer('second')
  await clock.advance(5000)
})

test('the first idle after an error, before the error is readable, does not end the task', async () => {
  const { clock, manager, launch, answer, notices } = createFakeStage()
  const { id } = await launch('bad')
  await clock.advance(100)
  answer('bad', { status: 400, text: 'too purple' })
  // The message is final 30 ms after the idle.
  await clock.advance(20)
  expect(manager.get(id)?.status).toBe('running')
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({
    status: 'failed',
    failure: { reason: 'error', message: 'too purple' },
  })
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('too purple')
})

test('an event during a read of the messages causes another read', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage({ pollMs: 600_000 })
  const { id, sessionID } = await launch('late')
  await clock.advance(100)
  // The first read returns the messages from before the answer, and resolves after the last event.
  const messages = host.opencode.messages.bind(host.opencode)
  let release = (): void => {}
  const slow = new Promise<void>((resolve) => {
    release = resolve
  })
  host.opencode.messages = async (asked) => {
    const before = await messages(asked)
    host.opencode.messages = messages
    await slow
    return before
  }
  void manager.hooks().event({ event: statusIdle(sessionID) })
  answer('late')
  await clock.advance(100)
  release()
  await clock.advance(100)
  expect(manager.get(id)?.status).toBe('completed')
})

test('a full context never counts as an abort, at whatever moment the messages are read', async () => {
  const { clock, host, manager, launch, parentID, notices } = createFakeStage()
  let overflown = false
  host.script = ({ sessionID, tools }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    if (tools.length === 0) return { text: 'A summary.' }
    if (overflown) return { text: 'done after all' }
    overflown = true
    return { status: 400, text: 'context length exceeded' }
  }
  const { id, sessionID } = await launch('read everything')
  for (let passed = 0; passed < 200; passed += 1) {
    void manager.hooks().event({ event: statusIdle(sessionID) })
    await clock.advance(1)
  }
  expect(manager.get(id)?.status).toBe('completed')
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('<result>done after all</result>')
})

test('an idle of another turn does not end a task, even without other events for a long time', async () => {
  const { clock, manager, launch } = createFakeStage({ pollMs: 600_000 })
  const { id, sessionID } = await launch('patient')
  await clock.advance(100)
  for (let times = 0; times < 3; times += 1) void manager.hooks().event({ event: statusIdle(sessionID) })
  await clock.advance(120_000)
  expect(manager.get(id)?.status).toBe('running')
  const cancelled = manager.cancel(id)
  await clock.advance(5000)
  await cancelled
})

test('a task whose accepted prompt is lost fails after the start timeout, with one notice', async () => {
  const { clock, host, manager, launch, notices } = createFakeStage({ startTimeoutMs: 30_000 })
  host.swallowNextPrompt()
  const { id } = await launch('lost')
  await clock.advance(29_000)
  expect(manager.get(id)?.status).toBe('running')
  await clock.advance(20_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  expect(notices()).toHaveLength(1)
})

test('a pending task whose session is deleted counts as cancelled by the user, with a notice', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage({ concurrency: { total: 1 } })
  await launch('first')
  const queued = await launch('queued')
  await clock.advance(100)
  host.deleteSession(queued.sessionID)
  await clock.advance(1000)
  expect(manager.get(queued.id)).toMatchObject({ status: 'cancelled', by: 'user' })
  expect(notices()).toHaveLength(1)
  answer('first')
  await clock.advance(1000)
  expect(manager.list(queued.parentID)[0]?.status).toBe('completed')
})

test('an ending instance records its tasks as interrupted, although OpenCode has aborted them before', async () => {
  const { clock, host, manager, launch } = createFakeStage({ concurrency: { total: 1 } })
  const running = await launch('running')
  const queued = await launch('queued')
  await clock.advance(100)
  // OpenCode aborts running sessions, and calls dispose a millisecond later (contract 9.4).
  const aborted = host.userAbort(running.sessionID)
  await clock.advance(1)
  await manager.dispose()
  await clock.advance(1000)
  await aborted
  for (const { id, sessionID } of [running, queued]) {
    expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
    expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'failed' } })
  }
  expect(host.modelRequests).toHaveLength(1)
})

test('a child that is created while the instance ends is recorded as interrupted, and is never prompted', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const launched = launch('too late')
  await manager.dispose()
  const { id, sessionID } = await launched
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'failed' } })
  expect(host.modelRequests).toEqual([])
})

function statusIdle(sessionID: string) {
  return { id: 'evt', type: 'session.status', properties: { sessionID, status: { type: 'idle' } } } as const
}

test('an instance with a late dispose still records an aborted task as interrupted', async () => {
  const { clock, host, manager, launch, notices } = createFakeStage()
  const { id, sessionID } = await launch('running')
  await clock.advance(100)
  void host.userAbort(sessionID)
  // OpenCode calls the hooks of other plugins first, one after another (contract 9.2).
  await clock.advance(500)
  await manager.dispose()
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(notices()).toEqual([])
})

test('an instance that ends while a prompt hangs does not start the child afterwards', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  host.hangNext('prompt')
  await launch('late')
  await clock.advance(100)
  await manager.dispose()
  await clock.advance(60_000)
  expect(host.modelRequests).toEqual([])
})

test('messages that were read before the session was idle do not decide the end', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage({ pollMs: 600_000 })
  let finish = (_: { text: string }): void => {}
  host.runTool = () => {
    throw new Error('no such file')
  }
  host.script = ({ sessionID, messages }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    if (messages.at(-1)?.role !== 'tool') return { tools: [{ name: 'read', args: {} }] }
    return new Promise((resolve) => {
      finish = resolve
    })
  }
  const { id, sessionID } = await launch('stumble')
  await clock.advance(30)
  const stored = host.messagesOf(sessionID)
  const step = stored.findLastIndex(({ info }) => info.role === 'assistant' && info.finish !== undefined)
  const messages = host.opencode.messages.bind(host.opencode)
  host.opencode.messages = async () => {
    host.opencode.messages = messages
    await new Promise<void>((resolve) => clock.after(50, resolve))
    return stored.slice(0, step + 1)
  }
  const error = { name: 'UnknownError', data: { message: 'something else' } }
  void manager.hooks().event({ event: { type: 'session.error', properties: { sessionID, error } } })
  await clock.advance(10)
  finish({ text: 'all good' })
  await clock.advance(1000)
  expect(manager.get(id)?.status).toBe('completed')
})

test('a task without events for a long time counts as stalled until its next event, and runs on', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage({ stalledAfterMs: 60_000 })
  const { id, sessionID } = await launch('slow')
  await clock.advance(59_000)
  expect(manager.stalledFor(id)).toBeUndefined()
  await clock.advance(10_000)
  expect(manager.stalledFor(id)).toBeGreaterThan(60_000)
  expect(manager.get(id)?.status).toBe('running')
  const part = { id: 'prt_1', messageID: 'msg_1', sessionID, type: 'text', text: 'still here' }
  void manager.hooks().event({ event: { type: 'message.part.updated', properties: { sessionID, part } } })
  expect(manager.stalledFor(id)).toBeUndefined()
  answer('slow')
  await clock.advance(1000)
  expect(manager.stalledFor(id)).toBeUndefined()
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'completed' } })
})

test('a disposed instance keeps no time limit, and does not stop tasks of the next instance', async () => {
  const stage = createFakeStage({ timeoutMs: 60_000 })
  const { clock, parentID } = stage
  const { id } = await stage.launch('work')
  await clock.advance(30_000)
  const old = await stage.restart(3)
  await stage.manager.recover(parentID)
  await stage.manager.continue(id, 'go on')
  await clock.advance(45_000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'running', run: 2 })
  expect(old.pendingTimers()).toBe(0)
})

test('a disposed instance with a pending cancel stops no task of the next instance', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  host.hangNext('prompt')
  const { id, sessionID } = await stage.launch('work')
  await clock.advance(10)
  void stage.manager.cancel(id)
  await clock.advance(1000)
  await stage.restart(3)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  void stage.manager.continue(id, 'go on')
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'running', run: 2 })
  await clock.advance(40_000)
  expect(host.isBusy(sessionID)).toBe(true)
  expect(stage.manager.get(id)?.status).toBe('running')
})
