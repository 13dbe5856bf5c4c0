import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'
import { interrupt, occupy } from '../harness/parent-turns.ts'

/** Returns the last message of the parent's newest model request. */
function lastAsked({ host, parentID }: FakeStage): string {
  return (
    host.modelRequests.findLast(({ sessionID }) => sessionID === parentID)?.messages.at(-1)?.content ?? ''
  )
}

test("an interrupted parent is not woken; its notice piggybacks on the user's next message, in one turn", async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = stage
  await launch('one')
  await occupy(stage)
  await interrupt(stage)
  answer('one')
  await clock.advance(120_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'where were we')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(lastAsked(stage)).toMatch(/^where were we\s+<background_task .*[\s\S]*\[Automatic notice/)
  expect(noticeTurns()).toHaveLength(1)
  host.userPrompt(parentID, 'and then')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('an abort of an idle parent also keeps it from being woken', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  host.userPrompt(parentID, 'hello')
  await clock.advance(1000)
  await interrupt(stage)
  answer('one')
  await clock.advance(120_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice in flight when the user interrupts is not sent again, but read later', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = stage
  await launch('one')
  await occupy(stage)
  // OpenCode accepts the notice and loses it; then the user interrupts.
  host.swallowNextPrompt()
  answer('one')
  await clock.advance(100)
  await interrupt(stage)
  await clock.advance(120_000)
  expect(notices()).toHaveLength(0)
  expect(noticeTurns()).toHaveLength(0)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(noticeTurns()).toHaveLength(1)
})

test('a notice that is stored before the interrupt does not piggyback again', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  await occupy(stage)
  answer('one')
  await clock.advance(100)
  expect(notices()).toHaveLength(1)
  await interrupt(stage)
  await clock.advance(60_000)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('the history is checked for a notice of unknown fate before it piggybacks', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  await occupy(stage)
  host.muteEvents = true
  host.loseNextAnswer('prompt')
  answer('one')
  // All events of the delivery are lost, but not the event of the interrupt.
  await clock.advance(10_000)
  host.muteEvents = false
  await interrupt(stage)
  await clock.advance(120_000)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test("an unread notice that the user undoes piggybacks on the user's next message", async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  await occupy(stage)
  answer('one')
  await clock.advance(100)
  await interrupt(stage)
  const [asked] = host.messagesOf(parentID)
  host.userRevert(parentID, asked?.info.id ?? '')
  host.userPrompt(parentID, 'something else')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(lastAsked(stage)).toContain('result of one')
})

test("a notice that piggybacks on a plugin's noReply message still wakes its parent, and is read once", async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  const turns = (): number => host.modelRequests.filter(({ sessionID }) => sessionID === parentID).length
  await launch('one')
  await launch('two')
  answer('one')
  await clock.advance(50)
  host.userPrompt(parentID, 'the user likes tea', { noReply: true })
  await clock.advance(1000)
  expect(turns()).toBe(0)
  await clock.advance(60_000)
  expect(turns()).toBe(1)
  expect(notices()).toHaveLength(1)
  expect(lastAsked(stage)).toContain('[Automatic notice')
  // A user interface shows a part that is not synthetic as a message of the user.
  const reminder = host.messagesOf(parentID).findLast(({ info }) => info.role === 'user')
  expect(reminder?.parts).toEqual([expect.objectContaining({ synthetic: true })])
  answer('two')
  await clock.advance(60_000)
  expect(turns()).toBe(2)
  expect(notices()).toHaveLength(2)
})

test("a notice that piggybacks on a plugin's message in an interrupted parent waits for the user", async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  await occupy(stage)
  await interrupt(stage)
  answer('one')
  await clock.advance(1000)
  host.userPrompt(parentID, 'the user likes tea', { noReply: true })
  await clock.advance(120_000)
  expect(lastAsked(stage)).toBe('occupy')
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice on a refused message piggybacks on the next message', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices, manager } = stage
  await launch('one')
  await occupy(stage)
  await interrupt(stage)
  answer('one')
  await clock.advance(1000)
  // Another plugin throws after our hook has added parts: OpenCode stores nothing (contract 1.13).
  const refused = { id: 'msg_refused', time: { created: clock.now() } }
  const parts: object[] = [{ type: 'text', text: 'refused' }]
  await manager.hooks()['chat.message']({ sessionID: parentID }, { message: refused, parts })
  expect(parts).toHaveLength(3)
  await clock.advance(60_000)
  host.userPrompt(parentID, 'again')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(lastAsked(stage)).toContain('result of one')
})

test('a parent with undone messages gets its notice as soon as the user redoes them', async () => {
  const { clock, host, launch, answer, parentID, notices } = createFakeStage()
  const asked = host.userPrompt(parentID, 'hello')
  await launch('one')
  await clock.advance(1000)
  host.userRevert(parentID, asked)
  answer('one')
  await clock.advance(120_000)
  expect(notices()).toHaveLength(0)
  expect(host.messagesOf(parentID)).toHaveLength(2)
  host.userUnrevert(parentID)
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  expect(host.messagesOf(parentID).length).toBeGreaterThan(2)
})

test('an undo in another process while the last child ends is not made final by its notice', async () => {
  const { clock, host, launch, answer, parentID, notices } = createFakeStage()
  const asked = host.userPrompt(parentID, 'hello')
  const { sessionID } = await launch('one')
  await clock.advance(1000)
  // A session is idle some 35 ms after its final answer is complete (contract 15.11).
  host.eventDelays = ({ type }) => [type === 'session.status' ? 35 : 0]
  host.onEvent(({ type, properties }) => {
    if (type !== 'message.updated' || properties.info.sessionID !== sessionID) return
    if (properties.info.role !== 'assistant' || properties.info.time.completed === undefined) return
    clock.after(20, () => {
      // No event of the other process arrives here.
      host.muteEvents = true
      host.userRevert(parentID, asked)
      host.muteEvents = false
    })
  })
  const ids = (): readonly string[] => host.messagesOf(parentID).map(({ info }) => info.id)
  const before = ids()
  answer('one')
  await clock.advance(60_000)
  expect(ids()).toEqual(before)
  expect(notices()).toHaveLength(0)
})

test('an owed notice piggybacks on the message that replaces undone ones, in one turn', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = stage
  const asked = host.userPrompt(parentID, 'hello')
  await launch('one')
  await clock.advance(1000)
  host.userRevert(parentID, asked)
  answer('one')
  await clock.advance(60_000)
  host.userPrompt(parentID, 'instead')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(lastAsked(stage)).toMatch(/^instead/)
  expect(noticeTurns()).toHaveLength(1)
})

test('with wake never, no notice is sent until the user writes', async () => {
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = createFakeStage({
    notify: { wake: 'never' },
  })
  await launch('one')
  await launch('two')
  await clock.advance(100)
  answer('one')
  answer('two')
  await clock.advance(120_000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()).toHaveLength(2)
  expect(noticeTurns()).toHaveLength(1)
})

test('with wake all, the parent is woken once, when the last of its tasks has ended', async () => {
  const { clock, launch, answer, notices, noticeTurns } = createFakeStage({ notify: { wake: 'all' } })
  for (const name of ['one', 'two', 'three']) await launch(name)
  await clock.advance(100)
  answer('one')
  await clock.advance(5000)
  answer('two')
  await clock.advance(5000)
  expect(notices()).toHaveLength(0)
  answer('three')
  await clock.advance(1000)
  expect(notices()).toHaveLength(3)
  expect(noticeTurns()).toHaveLength(1)
})

test('with wake all, the held notices are sent when the parent itself cancels its last task', async () => {
  const { clock, manager, launch, answer, notices } = createFakeStage({ notify: { wake: 'all' } })
  await launch('one')
  const { id } = await launch('two')
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  const cancelled = manager.cancel(id)
  await clock.advance(5000)
  await cancelled
  expect(notices()).toHaveLength(1)
})

test('with onInterrupt cancel, an interrupt cancels the tasks, and the next message has their notices', async () => {
  const stage = createFakeStage({ onInterrupt: 'cancel', concurrency: { total: 1 } })
  const { clock, host, launch, manager, parentID, notices } = stage
  await launch('one')
  await launch('two')
  await occupy(stage)
  await interrupt(stage)
  await clock.advance(10_000)
  expect(manager.list(parentID).map((task) => task.status)).toEqual(['cancelled', 'cancelled'])
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'go on')
  await clock.advance(1000)
  expect(
    notices()
      .join('\n')
      .match(/by="user"/g),
  ).toHaveLength(2)
})

test('with onInterrupt cancel, the end of the instance does not count as an interrupt', async () => {
  const stage = createFakeStage({ onInterrupt: 'cancel', concurrency: { total: 1 } })
  const { clock, host, launch, manager, parentID } = stage
  await launch('one')
  await launch('two')
  await occupy(stage)
  // OpenCode aborts running sessions, and ends the instance a few milliseconds later (contract 9.4).
  void host.userAbort(parentID)
  await clock.advance(3)
  await manager.dispose()
  await clock.advance(10_000)
  expect(manager.list(parentID)).toMatchObject([
    { status: 'failed', failure: { reason: 'interrupted' } },
    { status: 'failed', failure: { reason: 'interrupted' } },
  ])
})

test('with wake all, the held notices are sent when the parent reads the last end', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage({ notify: { wake: 'all' } })
  await launch('one')
  const { id } = await launch('two')
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  const report = read(id, { timeoutMs: 60_000 })
  await clock.advance(20)
  answer('two')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test.each(['before', 'after'])(
  'the late end of a turn that was interrupted %s the launch does not count as another interrupt',
  async (when) => {
    const stage = createFakeStage()
    const { clock, host, launch, answer, parentID, notices } = stage
    if (when === 'after') await launch('one')
    const { script } = host
    host.script = (request) =>
      request.messages.at(-1)?.content === 'occupy'
        ? { tools: [{ name: 'bash', args: {} }] }
        : script(request)
    host.runTool = () => new Promise(() => {})
    host.userPrompt(parentID, 'occupy')
    await clock.advance(100)
    // In a tool, an abort is final only 285 ms later (contract 1.10): after the user's next turn.
    void host.userAbort(parentID)
    await clock.advance(20)
    host.userPrompt(parentID, 'go on')
    await clock.advance(50)
    if (when === 'before') await launch('one')
    await clock.advance(5000)
    answer('one')
    await clock.advance(10_000)
    expect(notices()).toHaveLength(1)
  },
)

test('a message that arrives during the check for a stored notice still gets the notice', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices } = stage
  await launch('one')
  await occupy(stage)
  host.failNext('prompt')
  answer('one')
  await clock.advance(200)
  await interrupt(stage)
  const messages = host.opencode.messages.bind(host.opencode)
  host.opencode.messages = async (sessionID) => {
    const stored = await messages(sessionID)
    if (sessionID === parentID) await new Promise<void>((resolve) => clock.after(50, resolve))
    return stored
  }
  // The second attempt reads the history when the user writes.
  await clock.advance(420)
  host.userPrompt(parentID, 'hello')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice that was stored unread before an undo starts its turn when the user redoes', async () => {
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = createFakeStage()
  const asked = host.userPrompt(parentID, 'hello')
  await launch('one')
  await clock.advance(1000)
  // OpenCode stores the notice behind a failing turn, which leaves it unanswered.
  const { script } = host
  host.script = (request) =>
    request.messages.at(-1)?.content === 'fail'
      ? new Promise((resolve) => clock.after(500, () => resolve({ status: 400, text: 'bad' })))
      : script(request)
  host.userPrompt(parentID, 'fail')
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  host.userRevert(parentID, asked)
  await clock.advance(60_000)
  expect(noticeTurns()).toHaveLength(0)
  host.userUnrevert(parentID)
  await clock.advance(10_000)
  expect(noticeTurns()).toHaveLength(1)
  expect(notices()).toHaveLength(1)
})

test('a notice to which another plugin adds a part does not count as a message of the user', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer, parentID, notices, manager } = stage
  await launch('one')
  await launch('two')
  let count = 0
  host.onChatMessage = (sessionID, message) => {
    if (sessionID === parentID) {
      const id = `prt_other${count++}`
      message.parts.push({
        id,
        sessionID,
        messageID: message.message.id,
        type: 'text',
        text: 'Mind the rules.',
      })
    }
    return manager.hooks()['chat.message']({ sessionID }, message)
  }
  await clock.advance(100)
  answer('one')
  await clock.advance(95)
  answer('two')
  await clock.advance(60_000)
  expect(notices()).toHaveLength(2)
  const own = host.messagesOf(parentID).filter(({ parts }) => parts.length > 0)
  const perMessage = own.map(
    ({ parts }) =>
      parts.filter((part) => part.type === 'text' && part.text.startsWith('<background_task ')).length,
  )
  expect(Math.max(...perMessage)).toBeLessThanOrEqual(2)
  expect(
    host
      .messagesOf(parentID)
      .flatMap(({ parts }) => parts)
      .some((part) => part.type === 'text' && part.text.startsWith('\n\n<background')),
  ).toBe(false)
})

test('a notice uses the current agent of the parent, even if another process has changed it', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, answer } = stage
  host.userPrompt(parentID, 'begin', { agent: 'build' })
  await clock.advance(100)
  await stage.launch('work')
  await clock.advance(100)
  // OpenCode stores the act of another process, but sends this process no event.
  host.muteEvents = true
  host.userPrompt(parentID, 'now plan', { agent: 'plan' })
  await clock.advance(500)
  host.muteEvents = false
  answer('work')
  await clock.advance(1000)
  expect(host.session(parentID).agent).toBe('plan')
})

test('a notice that finds its parent interrupted while the user writes arrives in the next turn', async () => {
  for (let ms = 0; ms < 60; ms += 1) {
    const stage = createFakeStage()
    const { clock, host, launch, answer, parentID, notices } = stage
    await launch('one')
    await occupy(stage)
    void host.userAbort(parentID)
    await clock.advance(100)
    host.latencyMs = () => 10
    answer('one')
    await clock.advance(ms)
    host.userPrompt(parentID, 'go on')
    await clock.advance(10_000)
    expect([ms, notices().length]).toEqual([ms, 1])
  }
})
