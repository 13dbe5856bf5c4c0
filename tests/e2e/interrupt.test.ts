import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply, never } from '../harness/replies.ts'
import type { Project } from '../harness/server.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { pollMs: 1000 } })
})
afterAll(() => stage.close())

/** Long enough to send a notice twice. */
const LONG_MS = 7000

async function abort(sessionID: string): Promise<void> {
  await stage.server.client.session.abort({ path: { id: sessionID }, throwOnError: true })
}

/** Makes the parent busy with a model request that is never answered. */
async function occupy(parent: Parent): Promise<void> {
  const before = stage.model.script
  stage.model.script = (request) => (request.messages.at(-1)?.content === 'think' ? never() : before(request))
  await stage.server.prompt(parent.id, 'think')
  await stage.model.waitForRequest(
    ({ sessionID, messages }) => sessionID === parent.id && messages.at(-1)?.content === 'think',
  )
}

/** Expects no parent request for a long time, and then the notice in one turn with the next user message. */
async function expectHeld(parent: Parent, text: string): Promise<void> {
  const before = parent.requests.length
  await parent.childrenAreIdle()
  await stage.pass(LONG_MS)
  expect(parent.requests).toHaveLength(before)
  await parent.say('where were we')
  expect(parent.requests).toHaveLength(before + 1)
  const asked = parent.requests.at(-1)?.messages.filter(({ role }) => role === 'user') ?? []
  expect(asked.filter(({ content }) => content.includes(text))).toHaveLength(1)
  await parent.say('thanks')
  expect(parent.requests).toHaveLength(before + 2)
  expect(parent.noticeText.split(text)).toHaveLength(2)
}

test.each(['busy', 'idle'])(
  "a parent interrupted while %s is not woken, and the user's next message carries the notice",
  async (state) => {
    const { reply, release } = heldReply()
    const parent = await stage.parent(() => reply)
    await parent.launch('go on')
    await stage.model.waitForRequest(({ parentSessionID }) => parentSessionID === parent.id)
    await parent.quietBesidesChildren()
    if (state === 'busy') await occupy(parent)
    await abort(parent.id)
    await stage.settle()
    expect(parent.childRequests.map(({ outcome }) => outcome)).toEqual(['open'])
    release({ text: 'not in vain' })
    await expectHeld(parent, 'not in vain')
  },
)

test.each([0, 10, 30, 60, 120])(
  'a parent interrupted %i ms after its notice was stored is not woken again, and reads it once',
  async (delayMs) => {
    const { reply, release } = heldReply()
    const parent = await stage.parent(() => reply)
    await parent.launch('soon')
    await parent.quietBesidesChildren()
    const before = new Set((await stage.server.messages(parent.id)).map(({ info }) => info.id))
    const stored = stage.server.events.waitFor(
      ({ type, properties }) =>
        type === 'message.updated' &&
        properties.info.sessionID === parent.id &&
        properties.info.role === 'user' &&
        !before.has(properties.info.id),
      { description: 'the message of the notice' },
    )
    release({ text: 'in the nick of time' })
    await stored
    await sleep(delayMs)
    await abort(parent.id)
    // An abort before the turn of the notice does not prevent that turn.
    await parent.idle()
    const asked = parent.requests.length
    await stage.pass(LONG_MS)
    expect(parent.requests).toHaveLength(asked)
    await parent.say('where were we')
    expect(parent.requests).toHaveLength(asked + 1)
    expect(parent.noticeText.split('in the nick of time')).toHaveLength(2)
  },
)

test("a notice that the user undoes before it was read arrives with the user's next message", async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  await occupy(parent)
  release({ text: 'not undone' })
  const isNotice = ({ parts }: { parts: readonly { type: string; text?: string }[] }): boolean =>
    parts.some(({ text }) => text?.includes('not undone'))
  await expect.poll(async () => (await stage.server.messages(parent.id)).some(isNotice)).toBe(true)
  await abort(parent.id)
  await stage.settle()
  const asked = (await stage.server.messages(parent.id)).find(({ parts }) =>
    parts.some((part) => part.type === 'text' && part.text === 'think'),
  )
  const messageID = asked?.info.id ?? ''
  await stage.server.client.session.revert({ path: { id: parent.id }, body: { messageID } })
  await stage.server.prompt(parent.id, 'something else')
  await parent.waitForNotice('not undone')
  await parent.quiet()
  expect(parent.noticeText.split('not undone')).toHaveLength(2)
})

test('a parent with undone messages receives its notice only after a redo, and retains them', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  await stage.server.prompt(parent.id, 'a question')
  await parent.quietBesidesChildren()
  const stored = await stage.server.messages(parent.id)
  const messageID = stored.findLast(({ info }) => info.role === 'user')?.info.id ?? ''
  await stage.server.client.session.revert({ path: { id: parent.id }, body: { messageID } })
  release({ text: 'waited for' })
  const before = parent.requests.length
  await parent.childrenAreIdle()
  await stage.pass(LONG_MS)
  expect(parent.requests).toHaveLength(before)
  expect((await stage.server.messages(parent.id)).map(({ info }) => info.id)).toEqual(
    stored.map(({ info }) => info.id),
  )
  await stage.server.client.session.unrevert({ path: { id: parent.id } })
  await parent.waitForNotice('waited for')
  await parent.quiet()
  expect(parent.requests).toHaveLength(before + 1)
})

test('an undo in another process while the last child ends is not made final by its notice', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  await stage.server.prompt(parent.id, 'a question')
  await parent.quietBesidesChildren()
  const before = await stage.server.messages(parent.id)
  const messageID = before.findLast(({ info }) => info.role === 'user')?.info.id ?? ''
  const asked = parent.requests.length
  const [child] = parent.childRequests
  const other = await stage.second()
  try {
    await stage.fault('idle is held')
    await stage.frozen(async () => {
      const isFinal = stage.server.events.waitFor(
        ({ type, properties }) =>
          type === 'message.updated' &&
          properties.info.sessionID === child?.sessionID &&
          properties.info.role === 'assistant' &&
          properties.info.time.completed !== undefined,
      )
      release({ text: 'waited for' })
      await isFinal
      await other.client.session.revert({ path: { id: parent.id }, body: { messageID }, throwOnError: true })
      await stage.fault('none')
      await parent.childrenAreIdle()
      await stage.settle()
    })
    await stage.pass(LONG_MS)
    expect(parent.requests).toHaveLength(asked)
    const ids = (await stage.server.messages(parent.id)).map(({ info }) => info.id)
    expect(ids).toEqual(before.map(({ info }) => info.id))
  } finally {
    await stage.fault('none')
    await other.stop({ keepHome: true })
  }
  await stage.server.client.session.unrevert({ path: { id: parent.id } })
  await parent.waitForNotice('waited for')
  await parent.quiet()
})

test('an archived parent is not woken', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  const archived = { time: { archived: Date.now() } } as object
  await stage.server.client.session.update({ path: { id: parent.id }, body: archived })
  release({ text: 'put away' })
  await expectHeld(parent, 'put away')
})

test("a user message that carries a notice is answered by the user's chosen model and agent", async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  await abort(parent.id)
  release({ text: 'carried' })
  await parent.childrenAreIdle()
  await stage.server.prompt(parent.id, 'plan it', { agent: 'plan', model: 'm2' })
  const request = await parent.waitForNotice('carried')
  expect(request.model).toBe('m2')
  expect(request.messages.at(-1)?.content).toMatch(/^plan it/)
})

test('with onInterrupt cancel, the running and pending tasks of an interrupted parent are cancelled', async () => {
  const cancelling = stage.project({ options: { onInterrupt: 'cancel', concurrency: { total: 1 } } })
  const parent = await stage.parent(() => never(), {}, cancelling)
  await parent.launch('one', 'two')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  await parent.quietBesidesChildren()
  await cancelling.client.session.abort({ path: { id: parent.id } })
  await stage.model.waitForRequest(
    ({ parentSessionID, outcome }) => parentSessionID === parent.id && outcome === 'closed',
  )
  await cancelling.prompt(parent.id, 'where were we')
  await parent.waitForNotice('by="user"')
  await parent.quiet()
  expect(parent.noticeText.match(/by="user"/g)).toHaveLength(2)
  expect(parent.childRequests).toHaveLength(1)
})

/** Launches two children; the second answers when it is released. */
async function quickAndSlow(project: Project): Promise<{ parent: Parent; release: () => void }> {
  const { reply, release } = heldReply()
  const parent = await stage.parent(
    ({ messages }) => (messages.at(-1)?.content === 'slow' ? reply : { text: 'quick result' }),
    {},
    project,
  )
  await parent.launch('quick', 'slow')
  await parent.quietBesidesChildren()
  await parent.childrenAreIdle('quick')
  await stage.pass(LONG_MS)
  return { parent, release: () => release({ text: 'slow result' }) }
}

test('with wake all, the parent is woken once, when its last child has ended', async () => {
  const waking = stage.project({ options: { notify: { wake: 'all' } } })
  const { parent, release } = await quickAndSlow(waking)
  expect(parent.noticeTurns).toHaveLength(0)
  release()
  await parent.waitForNotice('slow result')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('quick result')
})

test("with wake never, the parent is not woken, and the user's next message carries all notices", async () => {
  const waking = stage.project({ options: { notify: { wake: 'never' } } })
  const { parent, release } = await quickAndSlow(waking)
  release()
  await parent.quiet()
  await stage.pass(LONG_MS)
  expect(parent.noticeTurns).toHaveLength(0)
  await waking.prompt(parent.id, 'well')
  await parent.waitForNotice('slow result')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('quick result')
})
