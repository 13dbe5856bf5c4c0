import { expect, test } from 'vitest'
import { HostError } from '../../src/host/opencode.ts'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'
import { heldReply, never } from '../harness/replies.ts'
import { interrupt, occupy } from '../harness/parent-turns.ts'

/** Faults of the event stream, and of the server, as a manager in another process than OpenCode sees them. */
const outside = (options: object = {}): FakeStage => createFakeStage(options, { isOutside: true })

test('outside of OpenCode, the events of the stream end a task, and one notice reports it', async () => {
  const { answer, clock, host, launch, manager, notices } = outside()
  const task = await launch('work')
  await clock.advance(100)
  const calls = host.calls.length
  answer('work')
  await clock.advance(1000)
  expect(manager.get(task.id)?.status).toBe('completed')
  expect(notices()).toHaveLength(1)
  // Events prove the end: no messages were read for it.
  expect(host.calls.slice(calls).map(({ method }) => method)).not.toContain('messages')
})

for (const [words, ms] of [
  ['1 s', 1000],
  ['60 s', 60_000],
] as const) {
  test(`a task that ends while the stream is broken for ${words} is reported once, soon after it is back`, async () => {
    const { answer, clock, host, launch, manager, notices } = outside()
    const task = await launch('work')
    await clock.advance(100)
    host.isAway = true
    answer('work')
    await clock.advance(ms)
    host.isAway = false
    await clock.advance(8000)
    expect(manager.get(task.id)).toMatchObject({ status: 'completed' })
    expect(notices()).toHaveLength(1)
    expect(notices()[0]).toContain('result of work')
    await clock.advance(120_000)
    expect(notices()).toHaveLength(1)
  })

  test(`a child that works while the stream is broken for ${words} goes on, and is reported once`, async () => {
    const { answer, clock, host, launch, manager, notices } = outside()
    const task = await launch('work')
    await clock.advance(100)
    host.isAway = true
    await clock.advance(ms)
    host.isAway = false
    await clock.advance(30_000)
    expect(manager.get(task.id)?.status).toBe('running')
    answer('work')
    await clock.advance(1000)
    expect(manager.get(task.id)?.status).toBe('completed')
    expect(notices()).toHaveLength(1)
  })
}

const OVERLOADED = { status: 429, text: 'slow down', headers: { 'retry-after-ms': '600000' } }

test.each([
  { turn: 'an answer', reply: never() },
  { turn: 'the wait for a retry', reply: OVERLOADED },
])(
  'an interrupt of $turn while the stream is away counts for an end that a poll finds first',
  async ({ reply }) => {
    const stage = outside({ pollMs: 5000 })
    const { answer, clock, host, launch, manager, notices, parentID } = stage
    const task = await launch('work')
    await occupy(stage, reply)
    host.isAway = true
    await clock.advance(18_000)
    answer('work')
    await interrupt(stage)
    // The stream is subscribed to seconds later.
    host.isAway = false
    const subscribed = (): number => host.calls.filter(({ method }) => method === 'events').length
    const before = subscribed()
    while (manager.get(task.id)?.status === 'running') await clock.advance(50)
    expect(subscribed()).toBe(before)
    await clock.advance(60_000)
    expect(subscribed()).toBe(before + 1)
    expect(notices()).toHaveLength(0)
    host.userPrompt(parentID, 'go on')
    await clock.advance(10_000)
    expect(notices()).toHaveLength(1)
  },
)

/** Lets an agent end while the stream is away, so that a poll finds the end and the parent is read before the next subscription. */
async function endUnseen({ answer, clock, host }: FakeStage): Promise<void> {
  host.isAway = true
  await clock.advance(18_000)
  answer('work')
  await clock.advance(400)
  host.isAway = false
}

test.each([
  { turn: 'the wait for a retry', reply: OVERLOADED, isStored: true },
  { turn: 'an answer', reply: never(), isStored: true },
  { turn: 'an answer that is not stored yet', reply: never(), isStored: false },
])('an interrupt of $turn counts also while the parent is read', async ({ reply, isStored }) => {
  const stage = outside({ pollMs: 5000 })
  const { clock, host, launch, notices, parentID } = stage
  await launch('work')
  await occupy(stage, reply)
  await endUnseen(stage)
  const real = { ...host.opencode }
  const reading = heldReply()
  const reads: string[] = []
  Object.assign(host.opencode, {
    newestMessages: async (...args: Parameters<typeof real.newestMessages>) => {
      const messages = structuredClone(await real.newestMessages(...args))
      if (args[0] !== parentID || reads.push(parentID) > 1) return messages
      await reading.reply
      return isStored ? messages : messages.slice(0, -1)
    },
  })
  while (reads.length === 0) await clock.advance(50)
  await interrupt(stage)
  reading.release({})
  await clock.advance(60_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a short turn while the parent is read is not taken for one that was cut off', async () => {
  const stage = outside({ pollMs: 5000 })
  const { clock, host, launch, notices, parentID } = stage
  await launch('work')
  await endUnseen(stage)
  const hello = heldReply()
  const { script } = host
  host.script = (request) => (request.messages.at(-1)?.content === 'hello' ? hello.reply : script(request))
  const real = { ...host.opencode }
  const reads: string[] = []
  Object.assign(host.opencode, {
    newestMessages: async (...args: Parameters<typeof real.newestMessages>) => {
      if (args[0] !== parentID || reads.push(parentID) > 1) return real.newestMessages(...args)
      host.userPrompt(parentID, 'hello')
      await new Promise((resolve) => void clock.after(50, () => resolve(undefined)))
      const messages = structuredClone(await real.newestMessages(...args))
      hello.release({ text: 'hi' })
      await new Promise((resolve) => void clock.after(50, () => resolve(undefined)))
      return messages
    },
  })
  while (reads.length === 0) await clock.advance(50)
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
})

test('a parent that is interrupted while it is read after missed events is not woken', async () => {
  const stage = outside()
  const { answer, clock, host, launch, notices, parentID } = stage
  // The parent is known only from its turn on.
  await occupy(stage)
  await launch('work')
  await clock.advance(100)
  const real = { ...host.opencode }
  const reading = heldReply()
  let reads = 0
  Object.assign(host.opencode, {
    newestMessages: async (...args: Parameters<typeof real.newestMessages>) => {
      const messages = structuredClone(await real.newestMessages(...args))
      if (args[0] === parentID) {
        reads += 1
        await reading.reply
      }
      return messages
    },
  })
  host.breakStreams()
  await clock.advance(300)
  expect(reads).toBe(1)
  await interrupt(stage)
  reading.release({})
  await clock.advance(100)
  answer('work')
  await clock.advance(60_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a proxy that finds nothing while its server is away deletes no parent', async () => {
  const { answer, clock, host, launch, manager, notices } = outside({ permissionNoticeMs: 5000 })
  const task = await launch('work')
  await clock.advance(100)
  const asked = host.askPermission(task.sessionID, 'bash', 'rm x')
  await clock.advance(100)
  const real = { ...host.opencode }
  const none = (): Promise<never> => Promise.reject(new HostError('notFound', 'no backend'))
  Object.assign(host.opencode, { events: none, newestMessages: none, session: none, statuses: none })
  host.breakStreams()
  // The notice of the request is due meanwhile.
  await clock.advance(10_000)
  Object.assign(host.opencode, real)
  await clock.advance(10_000)
  expect(manager.get(task.id)?.status).toBe('waiting')
  expect(notices()).toHaveLength(1)
  host.replyPermission(asked, 'once')
  answer('work')
  await clock.advance(60_000)
  expect(manager.get(task.id)?.status).toBe('completed')
  expect(notices()).toHaveLength(2)
})

test('a stream without events and heartbeats is subscribed to again after 25 s', async () => {
  const { answer, clock, host, launch, manager } = outside()
  const task = await launch('work')
  await clock.advance(100)
  host.muteEvents = true
  answer('work')
  await clock.advance(15_000)
  host.muteEvents = false
  const subscribed = (): number => host.calls.filter(({ method }) => method === 'events').length
  expect(subscribed()).toBe(1)
  await clock.advance(60_000)
  expect(manager.get(task.id)?.status).toBe('completed')
  expect(subscribed()).toBe(1)
  host.muteEvents = true
  await clock.advance(25_300)
  expect(subscribed()).toBe(2)
  host.muteEvents = false
})

test('a notice that is stored while its parent is read after missed events is not taken for undone', async () => {
  const { answer, clock, host, launch, notices, parentID } = outside()
  await launch('work')
  await clock.advance(100)
  const real = { ...host.opencode }
  const [sending, reading, thinking] = [heldReply(), heldReply(), heldReply()]
  let hold: Promise<unknown> | undefined
  Object.assign(host.opencode, {
    prompt: async (...args: Parameters<typeof real.prompt>) => {
      await sending.reply
      await real.prompt(...args)
    },
    newestMessages: async (...args: Parameters<typeof real.newestMessages>) => {
      const messages = await real.newestMessages(...args)
      if (args[0] === parentID) hold = reading.reply
      return messages
    },
    statuses: async () => {
      await hold
      return real.statuses()
    },
  })
  const prompts = (): number =>
    host.calls.filter(({ method, sessionID }) => method === 'prompt' && sessionID === parentID).length
  const { script } = host
  host.script = (request) => (request.sessionID === parentID ? thinking.reply : script(request))
  answer('work')
  await clock.advance(1000)
  host.breakStreams()
  await clock.advance(300)
  expect(hold).toBeDefined()
  sending.release({})
  await clock.advance(10)
  expect(notices()).toHaveLength(1)
  reading.release({})
  await clock.advance(10)
  thinking.release({ text: 'ok' })
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
  expect(prompts()).toBe(1)
})

test('a subscription that a starting server never answers is made again after 5 s', async () => {
  const { clock, host, launch, manager, answer } = outside()
  const task = await launch('work')
  await clock.advance(100)
  const subscribed = (): number => host.calls.filter(({ method }) => method === 'events').length
  host.muteEvents = true
  host.breakStreams()
  await clock.advance(250)
  expect(subscribed()).toBe(2)
  host.muteEvents = false
  await clock.advance(4900)
  expect(subscribed()).toBe(2)
  await clock.advance(700)
  expect(subscribed()).toBe(3)
  answer('work')
  await clock.advance(1000)
  expect(manager.get(task.id)?.status).toBe('completed')
})

test('a server that is away is asked again after 250 ms, then twice as long, at most every 5 s', async () => {
  const { clock, host, launch, manager } = outside()
  await clock.settle()
  host.isAway = true
  const from = host.calls.length
  const at: number[] = []
  for (let ms = 0; ms < 20_000; ms += 50) {
    const before = host.calls.length
    await clock.advance(50)
    if (host.calls.length > before) at.push(ms + 50)
  }
  expect(at).toEqual([250, 750, 1750, 3750, 7750, 12_750, 17_750])
  expect(host.calls.slice(from).every(({ method }) => method === 'events')).toBe(true)
  await expect(launch('work')).rejects.toThrow('The task was not started: OpenCode could not be reached')
  host.isAway = false
  await clock.advance(5000)
  await expect(launch('work')).resolves.toMatchObject({ status: 'starting' })
  expect(manager.problems).toEqual([])
  // The pauses begin anew with each subscription.
  host.breakStreams()
  const subscribed = (): number => host.calls.filter(({ method }) => method === 'events').length
  const before = subscribed()
  await clock.advance(250)
  expect(subscribed()).toBe(before + 1)
})

test('a restart of the server interrupts its tasks: each is reported once, and can be continued', async () => {
  const { answer, clock, host, launch, manager, notices, parentID } = outside({ concurrency: { total: 1 } })
  const cutOff = await launch('cut off')
  const queued = await launch('queued')
  await clock.advance(100)
  host.restartServer()
  await clock.advance(10_000)
  expect(manager.get(cutOff.id)).toMatchObject({
    status: 'failed',
    failure: { reason: 'interrupted', message: 'OpenCode stopped before the task had ended' },
  })
  expect(manager.get(queued.id)?.status).toBe('running')
  answer('queued')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(2)
  await manager.continue(cutOff.id, 'go on')
  answer('go on')
  await clock.advance(10_000)
  expect(manager.list(parentID).map(({ status }) => status)).toEqual(['completed', 'completed'])
  expect(notices()).toHaveLength(3)
})

test('the end of an instance interrupts its tasks, although it aborts them like a user', async () => {
  const { clock, host, launch, manager, notices } = outside()
  const task = await launch('work')
  await clock.advance(100)
  void host.disposeInstance()
  await clock.advance(10_000)
  expect(manager.get(task.id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(notices()).toHaveLength(1)
})

test('a task is cancelled although the server is restarted meanwhile', async () => {
  const { clock, host, launch, manager, notices } = outside()
  const task = await launch('work')
  await clock.advance(100)
  host.isAway = true
  const cancelled = manager.cancel(task.id)
  await clock.advance(1000)
  host.isAway = false
  host.restartServer()
  await clock.advance(10_000)
  await expect(cancelled).resolves.toMatchObject({ status: 'cancelled', by: 'parent' })
  expect(notices()).toEqual([])
})

test('a prompt that waits for its answer over a break of the stream still counts as sent', async () => {
  const { answer, clock, host, launch, manager, notices } = outside()
  host.hangNext('prompt')
  const task = await launch('work')
  await clock.advance(100)
  host.breakStreams()
  await clock.advance(14_000)
  expect(manager.get(task.id)?.status).toBe('starting')
  await clock.advance(2000)
  answer('work')
  await clock.advance(2000)
  expect(manager.get(task.id)?.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test('a parent that was interrupted while the stream was broken is not woken until its user writes', async () => {
  const { answer, clock, host, launch, manager, notices, noticeTurns, parentID } = outside()
  const script = host.script
  let isSlow = true
  host.script = (request) =>
    request.sessionID === parentID && isSlow ? new Promise(() => {}) : script(request)
  const task = await launch('work')
  host.userPrompt(parentID, 'hello')
  await clock.advance(100)
  host.isAway = true
  void host.userAbort(parentID)
  await clock.advance(1000)
  isSlow = false
  answer('work')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(60_000)
  expect(manager.get(task.id)?.status).toBe('completed')
  expect(noticeTurns()).toHaveLength(0)
  host.userPrompt(parentID, 'and now?')
  await clock.advance(2000)
  expect(notices()).toHaveLength(1)
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
})

test('a parent whose user wrote after an interruption is woken, although no event of that came', async () => {
  const { answer, clock, host, launch, notices, parentID } = outside()
  const script = host.script
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  await launch('work')
  host.userPrompt(parentID, 'hello')
  await clock.advance(100)
  void host.userAbort(parentID)
  host.script = script
  await clock.advance(1000)
  answer('work')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(0)
  host.isAway = true
  host.userPrompt(parentID, 'and now?')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('messages that were undone while the stream was broken keep their parent from being woken', async () => {
  const { answer, clock, host, launch, notices, parentID } = outside()
  const undone = host.userPrompt(parentID, 'hello')
  await launch('work')
  await clock.advance(1000)
  host.isAway = true
  host.userRevert(parentID, undone)
  answer('work')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(10_000)
  expect(notices()).toHaveLength(0)
  host.isAway = true
  host.userUnrevert(parentID)
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a parent and a busy child that were deleted while the stream was broken end their tasks', async () => {
  const { clock, host, launch, manager, parentID } = outside()
  const [first, second] = [await launch('first'), await launch('second')]
  await clock.advance(100)
  host.isAway = true
  host.deleteSession(first.sessionID)
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(5000)
  expect(manager.get(first.id)).toMatchObject({ status: 'cancelled', by: 'user' })
  expect(manager.get(second.id)?.status).toBe('running')
  expect(host.isBusy(first.sessionID)).toBe(false)
  host.isAway = true
  host.deleteSession(parentID)
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(5000)
  expect(manager.list(parentID)).toEqual([])
  expect(host.isBusy(second.sessionID)).toBe(false)
})

test('permission requests that came and went while the stream was broken are known at once', async () => {
  const { clock, host, launch, manager } = outside()
  const [asking, answered] = [await launch('asking'), await launch('answered')]
  await clock.advance(100)
  const request = host.askPermission(answered.sessionID, 'bash', 'rm *')
  await clock.advance(10)
  expect(manager.get(answered.id)?.status).toBe('waiting')
  host.isAway = true
  host.replyPermission(request, 'once')
  host.askPermission(asking.sessionID, 'bash', 'ls')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(1500)
  expect(manager.get(asking.id)?.status).toBe('waiting')
  expect(manager.get(answered.id)?.status).toBe('running')
})

test('a notice that was answered while the stream was broken is confirmed, and not sent again', async () => {
  const { answer, clock, host, launch, notices, noticeTurns, parentID } = outside()
  const script = host.script
  let release = (): void => {}
  host.script = (request) =>
    request.sessionID === parentID
      ? new Promise((resolve) => (release = () => resolve({ text: 'Noted.' })))
      : script(request)
  await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  host.isAway = true
  release()
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
  expect(noticeTurns()).toHaveLength(1)
})

test('a notice that could not be sent while the server was away is sent as soon as it is back', async () => {
  const { answer, clock, host, launch, notices } = outside({ notify: { debounceMs: 50 } })
  await launch('work')
  await clock.advance(100)
  answer('work')
  // The end is known, and its notice is not on its way yet.
  host.latencyMs = () => 0
  host.failNext('prompt', new HostError('noAnswer', 'OpenCode could not be reached'))
  await clock.advance(20)
  host.isAway = true
  await clock.advance(55_000)
  host.isAway = false
  await clock.advance(5300)
  expect(notices()).toHaveLength(1)
})

test('a wrong password rejects `follow` and is named once, until the server accepts the client', async () => {
  const stage = outside()
  const { clock, complaints, host } = stage
  const refusal = new HostError('unauthorized', 'OpenCode refused event.subscribe: the server has a password')
  for (let count = 0; count < 3; count += 1) host.failNext('events', refusal)
  await stage.manager.dispose()
  stage.second()
  await expect(stage.manager.follow()).rejects.toBe(refusal)
  await clock.advance(60_000)
  expect(stage.manager.problems).toEqual([refusal.message])
  expect(complaints.filter((line) => line.includes('password'))).toHaveLength(1)
  expect(host.calls.filter(({ method }) => method === 'events')).toHaveLength(4)
})

test('agents of a manager that is disposed outside of OpenCode do not work on', async () => {
  const { clock, host, launch, manager } = outside()
  const task = await launch('work')
  await clock.advance(100)
  const disposed = manager.dispose()
  await clock.advance(1000)
  await disposed
  expect(host.isBusy(task.sessionID)).toBe(false)
  expect(manager.get(task.id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
})

test('with `onInterrupt: "cancel"`, the end of an instance cancels no task', async () => {
  const { answer, clock, host, launch, manager, parentID } = outside({
    onInterrupt: 'cancel',
    concurrency: { total: 1 },
  })
  const script = host.script
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  const [cutOff, queued] = [await launch('cut off'), await launch('queued')]
  host.userPrompt(parentID, 'hello')
  await clock.advance(100)
  void host.disposeInstance()
  await clock.advance(5000)
  expect(manager.get(cutOff.id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  answer('queued')
  await clock.advance(5000)
  expect(manager.get(queued.id)?.status).toBe('completed')
  const next = await launch('next')
  host.userPrompt(parentID, 'hello again')
  await clock.advance(100)
  void host.userAbort(parentID)
  await clock.advance(5000)
  expect(manager.get(next.id)).toMatchObject({ status: 'cancelled', by: 'user' })
})

test('a killed process outside of OpenCode is succeeded by one that resumes its agents', async () => {
  const stage = outside({ concurrency: { total: 2 } })
  const { answer, clock, host, launch, notices, parentID } = stage
  const working = await launch('working')
  const asking = await launch('asking')
  const queued = await launch('queued')
  await clock.advance(100)
  host.askPermission(asking.sessionID, 'bash', 'rm *')
  await clock.advance(1000)
  stage.crash()
  await stage.manager.recover(parentID)
  const statuses = (): string[] => stage.manager.list(parentID).map(({ status }) => status)
  expect(statuses()).toEqual(['running', 'running', 'failed'])
  await clock.advance(5000)
  expect(statuses()).toEqual(['running', 'waiting', 'failed'])
  expect(stage.manager.get(queued.id)).toMatchObject({ failure: { reason: 'interrupted' } })
  expect(notices()).toHaveLength(0)
  answer('working')
  await clock.advance(5000)
  expect(stage.manager.get(working.id)?.status).toBe('completed')
  expect(stage.manager.story(working.id)?.steps.filter(({ type }) => type === 'recovered')).toHaveLength(1)
  // Its notice takes along that of the task which was not started.
  expect(notices()).toHaveLength(2)
  expect(host.modelRequests.filter(({ sessionID }) => sessionID === working.sessionID)).toHaveLength(1)
  const cancelled = stage.manager.cancel(asking.id)
  await clock.advance(5000)
  await expect(cancelled).resolves.toMatchObject({ status: 'cancelled' })
  expect(host.isBusy(asking.sessionID)).toBe(false)
})

test('an agent that ended while no process outside of OpenCode was there is reported with the next message', async () => {
  const stage = outside()
  const { answer, clock, host, launch, notices, parentID } = stage
  const task = await launch('work')
  await clock.advance(100)
  stage.crash()
  answer('work')
  await clock.advance(1000)
  await stage.manager.recover(parentID)
  expect(stage.manager.get(task.id)?.status).toBe('completed')
  await clock.advance(60_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'and now?')
  await clock.advance(5000)
  expect(notices()).toHaveLength(1)
})

test('a step that was missed counts in the usage of the task', async () => {
  const { clock, host, launch, manager, parentID } = outside()
  const { reply, release } = heldReply()
  const step = { tools: [{ name: 'read', args: {} }] }
  const replies = [step, step, reply]
  host.script = ({ sessionID }) =>
    sessionID === parentID ? { text: 'Noted.' } : (replies.shift() ?? { text: 'unexpected' })
  const stopListening = host.onEvent(({ type, properties }) => {
    if (type !== 'message.updated' || properties.info.role !== 'assistant') return
    if (properties.info.time.completed === undefined) return
    // The first step was observed as a whole; the second one begins.
    host.isAway = true
    stopListening()
  })
  const task = await launch('work')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(5000)
  release({ text: 'the result' })
  await clock.advance(10_000)
  expect(manager.get(task.id)).toMatchObject({ status: 'completed', usage: { toolCalls: 2 } })
})

test('the agents of a restarted server are asked for again', async () => {
  const { clock, host, manager } = outside()
  await clock.settle()
  expect(await manager.subagents()).not.toContain('newcomer')
  host.agents = host.agents.map((agent) =>
    agent.name === 'explore' ? { ...agent, name: 'newcomer' } : agent,
  )
  expect(await manager.subagents()).not.toContain('newcomer')
  host.restartServer()
  await clock.advance(1000)
  expect(await manager.subagents()).toContain('newcomer')
})

/** Launches a task whose notice is stored in a parent that its user then interrupts. */
async function restingNotice(stage: FakeStage): Promise<string> {
  const { answer, clock, host, launch, parentID } = stage
  const { script } = host
  const { id } = await launch('work')
  await clock.advance(100)
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  answer('work')
  await clock.advance(1000)
  void host.userAbort(parentID)
  host.script = script
  await clock.advance(1000)
  return id
}

test('a resting notice that the user’s turn has read without events is confirmed, and not sent again', async () => {
  const stage = outside()
  const { clock, host, manager, notices, parentID } = stage
  const id = await restingNotice(stage)
  const prompts = (): number => host.calls.filter(({ method }) => method === 'prompt').length
  const sent = prompts()
  host.isAway = true
  host.userPrompt(parentID, 'and now?')
  await clock.advance(1000)
  host.isAway = false
  await clock.advance(60_000)
  expect(prompts()).toBe(sent)
  expect(notices()).toHaveLength(1)
  expect(manager.story(id)?.steps.at(-1)).toMatchObject({ type: 'notice', notice: 'confirmed' })
})

test('a resting notice that was undone and removed without events is sent again', async () => {
  const stage = outside()
  const { clock, host, notices, parentID } = stage
  await restingNotice(stage)
  host.isAway = true
  host.userRevert(parentID, host.messagesOf(parentID)[0]?.info.id ?? '')
  host.userPrompt(parentID, 'and now?')
  await clock.advance(1000)
  expect(notices()).toHaveLength(0)
  host.isAway = false
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
})

test('a parent whose turn was cut off by a restart is not woken until its user writes', async () => {
  const { clock, host, launch, manager, notices, parentID } = outside()
  const { script } = host
  const task = await launch('work')
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  host.userPrompt(parentID, 'hello')
  await clock.advance(1000)
  host.restartServer()
  host.script = script
  await clock.advance(60_000)
  expect(manager.get(task.id)?.status).toBe('failed')
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'and now?')
  await clock.advance(5000)
  expect(notices()).toHaveLength(1)
})

test('a parent that answers over a break of the stream is not taken for one that was cut off', async () => {
  const { answer, clock, host, launch, notices, parentID } = outside()
  const { script } = host
  await launch('work')
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  host.userPrompt(parentID, 'hello')
  await clock.advance(1000)
  host.breakStreams()
  await clock.advance(1000)
  answer('work')
  await clock.advance(5000)
  expect(notices()).toHaveLength(1)
})

test('a parent that could not be read after a break is read before its notice is sent', async () => {
  const { answer, clock, host, launch, notices, parentID } = outside()
  const { script } = host
  await launch('work')
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  host.userPrompt(parentID, 'hello')
  await clock.advance(1000)
  host.isAway = true
  void host.userAbort(parentID)
  answer('work')
  await clock.advance(1000)
  host.isAway = false
  // The poll, and the read of the parent.
  host.failNext('statuses')
  host.failNext('statuses')
  await clock.advance(60_000)
  expect(notices()).toHaveLength(0)
})

test('the idle event of a turn whose beginning was missed does not count as an interrupt', async () => {
  const { answer, clock, host, launch, manager, parentID } = outside({ onInterrupt: 'cancel' })
  const { script } = host
  const task = await launch('work')
  host.userPrompt(parentID, 'hello')
  await clock.advance(1000)
  const { reply, release } = heldReply()
  host.script = (request) => (request.sessionID === parentID ? reply : script(request))
  host.isAway = true
  host.userPrompt(parentID, 'hello again')
  await clock.advance(200)
  host.isAway = false
  host.failNext('statuses')
  host.failNext('statuses')
  await clock.advance(1000)
  release({ text: 'Noted.' })
  await clock.advance(2000)
  expect(manager.get(task.id)?.status).toBe('running')
  answer('work')
  await clock.advance(10_000)
})

test('a task whose agent could not be aborted at the end of its process is recorded as running again', async () => {
  const stage = outside()
  const { answer, clock, host, launch, parentID } = stage
  const task = await launch('work')
  await clock.advance(100)
  host.failNext('abort')
  const disposed = stage.manager.dispose()
  await clock.advance(1000)
  await disposed
  const status = (): unknown =>
    (host.session(task.sessionID).metadata as { background: { status: string } }).background.status
  expect(status()).toBe('failed')
  stage.crash()
  await stage.manager.recover(parentID)
  await clock.advance(100)
  expect(status()).toBe('running')
  answer('work')
  await clock.advance(5000)
  expect(status()).toBe('completed')
})
