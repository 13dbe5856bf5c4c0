/**
 * What a plugin for background tasks relies on in its host, each fact once. The suite runs against the real binary
 * and against the fake, so that a fast test on the fake says something about OpenCode. The numbers in the names are
 * the sections of the host contract. Where the two differ, the real one is right.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Reply, Script } from '../harness/script.ts'
import { HostError } from '../../src/opencode.ts'
import { newChild, Observed, type HostUnderTest } from './host-under-test.ts'

const TIME_LIMIT_MS = 30_000
const READ: Reply = { tools: [{ name: 'read', args: { filePath: 'README.md' } }] }

/** The answers in this order, then `ok` for ever. */
function inOrder(...replies: readonly (Reply | Promise<Reply>)[]): Script {
  let next = 0
  return () => replies[next++] ?? { text: 'ok' }
}

/** An answer that comes when the test says so. */
function heldReply(): { readonly reply: Promise<Reply>; readonly release: (reply: Reply) => void } {
  let release!: (reply: Reply) => void
  const reply = new Promise<Reply>((resolve) => {
    release = resolve
  })
  return { reply, release }
}

const never = (): Promise<Reply> => new Promise(() => {})

export function hostContract(name: string, makeHost: () => Promise<HostUnderTest>): void {
  describe(`the host contract, by ${name}`, { timeout: TIME_LIMIT_MS }, () => {
    let host: HostUnderTest

    beforeAll(async () => {
      host = await makeHost()
      // The first prompt of a fresh server is slow (2.3), and says nothing about the later ones.
      const warm = await newChild(host)
      await warm.prompt('warm')
      await warm.idleTimes(1)
    }, TIME_LIMIT_MS)
    afterAll(() => host.close(), TIME_LIMIT_MS)
    beforeEach(() => host.setScript(() => ({ text: 'ok' })))

    describe('a turn', () => {
      test('goes from busy to idle once, with session.idle right after (1.1, 1.2)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        expect(child.story).toEqual(['busy', 'busy', 'final stop', 'busy', 'idle', 'session.idle'])
        expect(child.events[0]?.type).toBe('session.created')
      })

      test('tells its user message, with its part after it, before it is busy (1.1)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        const types = child.events.map(({ type }) => type)
        const message = types.indexOf('message.updated')
        const part = types.indexOf('message.part.updated')
        expect(message).toBeGreaterThan(0)
        expect(part).toBeGreaterThan(message)
        expect(types.indexOf('session.status')).toBeGreaterThan(part)
      })

      test('is followed by events after its idle (1.1)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        const after = child.events.slice(child.events.findIndex(({ type }) => type === 'session.idle') + 1)
        expect(after.map(({ type }) => type)).toEqual(
          expect.arrayContaining(['session.updated', 'message.updated']),
        )
      })

      test('has no idle between its steps, which all answer the same message (1.3)', async () => {
        host.setScript(inOrder(READ, READ, { text: 'done' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        expect(child.idleCount).toBe(1)
        const answers = await child.answers()
        expect(answers.map(({ finish }) => finish)).toEqual(['tool-calls', 'tool-calls', 'stop'])
        expect(answers.map(({ parentID }) => parentID)).toEqual(Array(3).fill(child.messageID('hello')))
      })

      test('goes on after a tool call that came with a terminal finish (1.3b)', async () => {
        host.setScript(inOrder({ ...READ, finish: 'stop' }, { text: 'done' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        expect(child.requests).toHaveLength(2)
        expect((await child.answers()).map(({ finish }) => finish)).toEqual(['stop', 'stop'])
      })

      test('ends when the answer was cut short by its length', async () => {
        host.setScript(inOrder({ text: 'so far', finish: 'length' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        expect(child.requests).toHaveLength(1)
        expect((await child.answers()).map(({ finish }) => finish)).toEqual(['length'])
      })

      test('has its final answer readable at idle (1.4)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        const [answer] = await child.answers()
        expect(answer).toMatchObject({ finish: 'stop', parentID: child.messageID('hello') })
        expect(answer?.time.completed).toBeTypeOf('number')
        expect(answer?.parts).toContainEqual(expect.objectContaining({ type: 'text', text: 'ok' }))
      })

      test('with an empty answer ends like any other, without a text part (1.8)', async () => {
        host.setScript(inOrder({}))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        const [answer] = await child.answers()
        expect(answer?.finish).toBe('stop')
        expect(answer?.error).toBeUndefined()
        expect(answer?.parts.map(({ type }) => type)).toEqual(['step-start', 'step-finish'])
      })

      test('records the agent, model and variant on its user message', async () => {
        const child = await newChild(host)
        const model = { providerID: 'mock', modelID: 'm3', variant: 'low' }
        await child.prompt('hello', { agent: 'plan', model })
        await child.idleTimes(1)
        const [asked] = await child.messages()
        expect(asked?.info).toMatchObject({ role: 'user', agent: 'plan', model })
        expect(child.requests[0]?.model).toBe('m3')
      })

      test('without agent and model falls to build, and drops the variant but not the model (4.10)', async () => {
        const child = await newChild(host)
        const model = { providerID: 'mock', modelID: 'm3' }
        await child.prompt('one', { agent: 'plan', model: { ...model, variant: 'low' } })
        await child.idleTimes(1)
        await host.userPrompt(child.id, 'two')
        await child.idleTimes(2)
        const asked = (await child.messages()).findLast(({ info }) => info.role === 'user')
        expect(asked?.info).toMatchObject({ agent: 'build', model })
        expect(asked?.info).not.toHaveProperty('model.variant')
      })
    })

    describe('a failure', () => {
      test('of the request (400) says idle before its message is final, and again after (1.5)', async () => {
        host.setScript(inOrder({ status: 400, text: 'bad' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(2)
        await host.settle()
        expect(child.story.slice(2)).toEqual([
          'error APIError',
          'idle',
          'session.idle',
          'final APIError',
          'idle',
          'session.idle',
        ])
        const [answer] = await child.answers()
        expect(answer?.error).toMatchObject({ name: 'APIError', data: { message: 'bad', statusCode: 400 } })
        expect(answer?.finish).toBeUndefined()
      })

      test('of the server (500) is retried, and the same message then holds the answer (1.6)', async () => {
        host.setScript(inOrder({ status: 500, text: 'srv', headers: { 'retry-after-ms': '150' } }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.told('retry')
        expect((await host.opencode.statuses())[child.id]).toMatchObject({ type: 'retry', attempt: 1 })
        await child.idleTimes(1)
        expect(child.requests).toHaveLength(2)
        expect(child.story).not.toContain('error APIError')
        expect(await child.answers()).toHaveLength(1)
        expect((await child.answers())[0]?.finish).toBe('stop')
      })

      test('in mid-answer is retried too; the text so far is lost and its empty part stays (1.6)', async () => {
        host.setScript(inOrder({ text: 'half', cut: true }, { text: 'whole' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        const [answer] = await child.answers()
        const texts = answer?.parts.flatMap((part) => (part.type === 'text' ? [part.text] : []))
        expect(texts).toEqual(['', 'whole'])
      })

      test('leaves a message that was queued behind it unanswered, and says so by no event', async () => {
        const held = heldReply()
        host.setScript(inOrder(held.reply))
        const child = await newChild(host)
        await child.prompt('one')
        await child.askedTimes(1)
        await child.prompt('two')
        await child.stored('two')
        held.release({ status: 400, text: 'bad' })
        await child.idleTimes(2)
        await host.settle()
        expect(child.requests).toHaveLength(1)
        expect((await child.answers()).map(({ parentID }) => parentID)).toEqual([child.messageID('one')])
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
      })

      // The real host leaves about 30 ms between the two idles; a prompt that comes later begins a turn.
      test(
        'swallows a prompt that comes between its two idles: stored, never answered',
        { retry: 5 },
        async () => {
          host.setScript(inOrder({ status: 400, text: 'bad' }))
          const child = await newChild(host)
          await child.prompt('one')
          await child.told('error APIError')
          await child.prompt('two')
          await child.stored('two')
          await child.idleTimes(2)
          await host.settle()
          expect(child.requests).toHaveLength(1)
          expect((await child.answers()).map(({ parentID }) => parentID)).toEqual([child.messageID('one')])
          expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
        },
      )

      test('of an unknown agent is two errors, with no message, no busy and no idle ever (1.12)', async () => {
        const child = await newChild(host)
        await child.prompt('hello', { agent: 'nope' })
        await child.told('error UnknownError')
        await host.settle()
        expect(child.story).toEqual(['error UnknownError', 'error UnknownError'])
        expect(await child.messages()).toEqual([])
      })

      test('of an unknown model is an error on each side of one idle, and no answer (1.12)', async () => {
        const child = await newChild(host)
        await child.prompt('hello', { model: { providerID: 'mock', modelID: 'nope' } })
        await child.told('session.idle')
        await host.settle()
        const error = 'error UnknownError'
        expect(child.story).toEqual(['busy', error, 'idle', 'session.idle', error])
        expect((await child.messages()).map(({ info }) => info.role)).toEqual(['user'])
      })
    })

    describe('an abort', () => {
      test('in mid-answer says idle, makes the message final, and has resolved by then (1.9)', async () => {
        host.setScript(never)
        const child = await newChild(host)
        await child.prompt('hello')
        await child.askedTimes(1)
        await child.abort()
        const [answer] = await child.answers()
        expect(answer?.error?.name).toBe('MessageAbortedError')
        expect(answer?.time.completed).toBeTypeOf('number')
        expect(answer?.finish).toBeUndefined()
        await host.settle()
        expect(child.story.slice(2)).toEqual([
          'error MessageAbortedError',
          'idle',
          'session.idle',
          'final MessageAbortedError',
          'idle',
          'session.idle',
        ])
        expect(child.requests[0]?.outcome).toBe('closed')
      })

      test('in a tool ends the tool as well, and answers when both have ended (1.10)', async () => {
        const command = { command: 'sleep 20', description: 'Waits' }
        host.setScript(inOrder({ tools: [{ name: 'bash', args: command }] }))
        const child = await newChild(host)
        await child.prompt('hello')
        const running = async (): Promise<boolean> =>
          (await child.toolStates()).some((status) => status === 'running')
        await host.waitUntil(running, 'a running tool')
        await child.abort()
        const [answer] = await child.answers()
        expect(answer?.error?.name).toBe('MessageAbortedError')
        expect(await running()).toBe(false)
        await host.settle()
        expect(child.requests).toHaveLength(1)
        expect(child.idleCount).toBe(2)
      })

      test('while a retry is awaited ends in one idle and a message without error or finish (6.4)', async () => {
        const later = { 'retry-after-ms': '20000' }
        host.setScript(() => ({ status: 500, text: 'srv', headers: later }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.told('retry')
        await child.abort()
        await host.settle()
        expect(child.story.slice(2)).toEqual(['retry', 'final without finish', 'idle', 'session.idle'])
        const [answer] = await child.answers()
        expect(answer?.error).toBeUndefined()
        expect(answer?.time.completed).toBeTypeOf('number')
      })

      test('of an idle session says idle (6.3)', async () => {
        const child = await newChild(host)
        await child.abort()
        await child.idleTimes(1)
        expect(child.story).toEqual(['idle', 'session.idle'])
      })

      test('of an unknown session says idle for it (3.5)', async () => {
        const unknown = new Observed(host, { ...(await host.createRootSession()), id: 'ses_unknown0000' })
        await unknown.abort()
        await unknown.idleTimes(1)
        expect(unknown.story).toEqual(['idle', 'session.idle'])
      })

      test('leaves a message that was queued before it unanswered, until the next prompt (4.7)', async () => {
        host.setScript(inOrder(never()))
        const child = await newChild(host)
        await child.prompt('one')
        await child.askedTimes(1)
        await child.prompt('two')
        await child.stored('two')
        await host.userAbort(child.id)
        await host.settle()
        expect(child.requests).toHaveLength(1)
        await child.prompt('three')
        await child.askedTimes(2)
        expect(child.conversation(1)).toEqual(['user: one', 'user: two', 'user: three'])
      })

      test('of a parent leaves its child running (6.1)', async () => {
        const held = heldReply()
        host.setScript(({ parentSessionID }) => (parentSessionID === undefined ? never() : held.reply))
        const child = await newChild(host)
        const parent = new Observed(host, await host.opencode.session(child.session.parentID ?? ''))
        await Promise.all([parent.prompt('parent'), child.prompt('child')])
        await Promise.all([parent.askedTimes(1), child.askedTimes(1)])
        await parent.abort()
        expect(await host.opencode.statuses()).toMatchObject({ [child.id]: { type: 'busy' } })
        expect(await host.opencode.statuses()).not.toHaveProperty(parent.id)
        held.release({ text: 'done' })
        await child.idleTimes(1)
        expect((await child.answers())[0]?.finish).toBe('stop')
      })
    })

    describe('a prompt', () => {
      test('of an idle session begins a new turn, with the history before it (4.2)', async () => {
        const child = await newChild(host)
        await child.prompt('one')
        await child.idleTimes(1)
        await child.prompt('two')
        await child.idleTimes(2)
        expect(child.conversation(1)).toEqual(['user: one', 'assistant: ok', 'user: two'])
        const parents = (await child.answers()).map(({ parentID }) => parentID)
        expect(parents).toEqual([child.messageID('one'), child.messageID('two')])
      })

      test('of a busy session becomes the next step of the same loop (4.3)', async () => {
        const held = heldReply()
        host.setScript(inOrder(held.reply))
        const child = await newChild(host)
        await child.prompt('one')
        await child.askedTimes(1)
        await child.prompt('two')
        await child.stored('two')
        held.release({ text: 'first' })
        await child.idleTimes(1)
        await host.settle()
        expect(child.idleCount).toBe(1)
        expect(child.conversation(1)).toEqual(['user: one', 'assistant: first', 'user: two'])
        const parents = (await child.answers()).map(({ parentID }) => parentID)
        expect(parents).toEqual([child.messageID('one'), child.messageID('two')])
      })

      test('during a step that calls a tool is read after the tool, and takes the loop over (4.3)', async () => {
        const held = heldReply()
        host.setScript(inOrder(held.reply))
        const child = await newChild(host)
        await child.prompt('one')
        await child.askedTimes(1)
        await child.prompt('two')
        await child.stored('two')
        held.release(READ)
        await child.idleTimes(1)
        expect(child.conversation(1).map((line) => line.split(':')[0])).toEqual([
          'user',
          'assistant',
          'tool',
          'user',
        ])
        expect(child.conversation(1).at(-1)).toBe('user: two')
        const parents = (await child.answers()).map(({ parentID }) => parentID)
        expect(parents).toEqual([child.messageID('one'), child.messageID('two')])
      })

      test('right after an abort is answered (4.6)', async () => {
        host.setScript(inOrder(never()))
        const child = await newChild(host)
        await child.prompt('one')
        await child.askedTimes(1)
        await child.abort()
        await child.prompt('two')
        await child.askedTimes(2)
        await child.told('final stop')
        expect(child.conversation(1)).toEqual(['user: one', 'user: two'])
      })

      test('sent five times in one tick loses nothing, in one cycle of few turns (5)', async () => {
        const child = await newChild(host)
        const names = ['N1', 'N2', 'N3', 'N4', 'N5']
        await Promise.all(names.map((each) => child.prompt(each)))
        await child.idleTimes(1)
        await host.settle()
        expect(child.idleCount).toBe(1)
        expect(child.requests.length).toBeLessThan(5)
        const asked = child.conversation(child.requests.length - 1).join('\n')
        for (const each of names) expect(asked).toContain(`user: ${each}`)
        // Only the newest of those that a step answers is named by its answer.
        expect((await child.answers()).at(-1)?.parentID).toBe(child.messageID('N5'))
      })

      test('keeps its parts in the order of their ids, not as they were sent', async () => {
        const child = await newChild(host)
        await child.prompt('hello', { parts: [child.part('2', 'B'), child.part('1', 'A')] })
        await child.idleTimes(1)
        expect(child.conversation(0)).toEqual(['user: AB'])
      })

      test('is refused for an unknown session, as is reading it (3.5)', async () => {
        const { opencode } = host
        const id = 'ses_unknown0000'
        const prompt = { messageID: 'msg_unknown', agent: 'build', parts: [] }
        const calls = [
          () => opencode.prompt(id, prompt),
          () => opencode.messages(id),
          () => opencode.session(id),
          () => opencode.replaceMetadata(id, {}),
        ]
        for (const call of calls) {
          const error: unknown = await call().catch((reason: unknown) => reason)
          expect(error).toBeInstanceOf(HostError)
          expect(error).toMatchObject({ reason: 'notFound' })
        }
      })

      test('with a malformed message id is refused (4.13)', async () => {
        const child = await newChild(host)
        const error: unknown = await child.prompt('x', { messageID: 'x' }).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ reason: 'refused' })
      })
    })

    describe('the same message id', () => {
      test('sent three times at once is stored once and answered by one turn (4.14)', async () => {
        const child = await newChild(host)
        await Promise.all([child.prompt('hello'), child.prompt('hello'), child.prompt('hello')])
        await child.idleTimes(1)
        await host.settle()
        const stored = await child.messages()
        expect(stored.map(({ info }) => info.role)).toEqual(['user', 'assistant'])
        expect(stored[0]?.parts).toHaveLength(1)
        expect(child.requests).toHaveLength(1)
      })

      test('sent again after its answer is busy and idle without a model call (4.14)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        const before = child.story.length
        await child.prompt('hello')
        await child.idleTimes(2)
        expect(child.story.slice(before)).toEqual(['busy', 'idle', 'session.idle'])
        expect(child.requests).toHaveLength(1)
      })

      test('sent again after a failure runs again (4.14)', async () => {
        host.setScript(inOrder({ status: 400, text: 'bad' }))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(2)
        await child.prompt('hello')
        await child.told('final stop')
        expect(child.requests).toHaveLength(2)
      })

      test('sent again after newer turns costs one turn, and keeps its place in the history (4.14)', async () => {
        const child = await newChild(host)
        await child.prompt('one')
        await child.idleTimes(1)
        await child.prompt('two')
        await child.idleTimes(2)
        await child.prompt('one')
        await child.idleTimes(3)
        expect(child.requests).toHaveLength(3)
        expect(child.conversation(2).slice(0, 3)).toEqual(['user: one', 'assistant: ok', 'user: two'])
        const ids = (await child.messages()).map(({ info }) => info.id)
        expect(ids[0]).toBe(child.messageID('one'))
      })

      test('with a new part after its answer stores the part and calls no model (4.18)', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await child.prompt('hello', { parts: [child.part('more')] })
        await child.idleTimes(2)
        expect(child.requests).toHaveLength(1)
        expect((await child.messages())[0]?.parts).toHaveLength(2)
      })

      test('in another session writes into the first one (4.14)', async () => {
        const child = await newChild(host)
        const other = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        await other.prompt('other', { messageID: child.messageID('hello') })
        await host.settle()
        expect((await child.messages())[0]?.parts).toHaveLength(2)
        expect((await other.messages()).filter(({ info }) => info.role === 'user')).toEqual([])
      })

      test('is not shared by part ids: a part sent in a second message stays in the first (4.18)', async () => {
        const child = await newChild(host)
        await child.prompt('one', { parts: [child.part('shared', 'first text')] })
        await child.idleTimes(1)
        await child.prompt('two', { parts: [child.part('shared', 'second text')] })
        await child.idleTimes(2)
        const texts = (await child.messages()).map(({ parts }) =>
          parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
        )
        expect(texts.slice(0, 3)).toEqual([['second text'], ['ok'], []])
      })
    })

    describe('a session', () => {
      test('that is idle is absent from the statuses, and one that works is busy (2.1)', async () => {
        host.setScript(inOrder(never()))
        const child = await newChild(host)
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
        await child.prompt('hello')
        await child.askedTimes(1)
        expect((await host.opencode.statuses())[child.id]).toEqual({ type: 'busy' })
        await child.abort()
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
      })

      test('keeps the metadata and permissions that it was created with (3.1)', async () => {
        const permission = [{ permission: 'task', pattern: '*', action: 'deny' as const }]
        const metadata = { background: { id: 'bg_1', times: [1, 2] }, other: true }
        const child = await newChild(host, { permission, metadata, title: 'Named' })
        const kept = { permission, metadata, title: 'Named', parentID: child.session.parentID }
        expect(child.session).toMatchObject(kept)
        expect(await host.opencode.session(child.id)).toMatchObject(kept)
      })

      test('has its metadata replaced as a whole, and tells it as session.updated (3.2, 9.8)', async () => {
        const child = await newChild(host, { metadata: { old: 1, kept: 2 } })
        await host.opencode.replaceMetadata(child.id, { kept: 3 })
        expect((await host.opencode.session(child.id)).metadata).toEqual({ kept: 3 })
        await host.waitUntil(
          () =>
            child.events.some(
              (event) => event.type === 'session.updated' && event.properties.info.metadata?.['kept'] === 3,
            ),
          'session.updated with the new metadata',
        )
      })

      test('keeps its metadata through a turn', async () => {
        const child = await newChild(host, { metadata: { kept: 1 } })
        await child.prompt('hello')
        await child.idleTimes(1)
        await host.settle()
        expect((await host.opencode.session(child.id)).metadata).toEqual({ kept: 1 })
      })

      test('whose rules deny a tool does not offer it to its model (8.5)', async () => {
        const deny = (permission: string) => ({ permission, pattern: '*', action: 'deny' as const })
        const child = await newChild(host, { permission: [deny('task'), deny('edit')] })
        await child.prompt('hello')
        await child.idleTimes(1)
        const tools = child.requests[0]?.tools
        expect(tools).toEqual(expect.arrayContaining(['read', 'bash']))
        for (const tool of ['task', 'edit', 'write']) expect(tools).not.toContain(tool)
      })

      test('that is allowed one tool only offers that one (8.5)', async () => {
        const permission = [
          { permission: '*', pattern: '*', action: 'deny' as const },
          { permission: 'read', pattern: '*', action: 'allow' as const },
        ]
        const child = await newChild(host, { permission })
        await child.prompt('hello')
        await child.idleTimes(1)
        expect(child.requests[0]?.tools).toEqual(['read'])
      })

      test('that is deleted takes its children along, the children first (7)', async () => {
        const child = await newChild(host)
        const grandchild = await newChild(host, { parentID: child.id })
        await host.deleteSession(child.id)
        await child.told('session.deleted')
        const deleted = host.events.flatMap((event) =>
          event.type === 'session.deleted' ? [event.properties.sessionID] : [],
        )
        expect(deleted.slice(-2)).toEqual([grandchild.id, child.id])
        await expect(host.opencode.messages(grandchild.id)).rejects.toMatchObject({ reason: 'notFound' })
      })

      test('that is deleted while busy runs on, and dies at its next write (1.11)', async () => {
        const held = heldReply()
        host.setScript(inOrder(held.reply))
        const child = await newChild(host)
        await child.prompt('hello')
        await child.askedTimes(1)
        await host.deleteSession(child.id)
        expect(await host.opencode.statuses()).toHaveProperty(child.id)
        held.release({ text: 'too late' })
        await child.idleTimes(2)
        expect(child.story).toContain('error UnknownError')
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
      })

      test('tells its model requests apart by the ids of the session and its parent', async () => {
        const child = await newChild(host)
        await child.prompt('hello')
        await child.idleTimes(1)
        expect(child.requests[0]?.parentSessionID).toBe(child.session.parentID)
      })
    })

    test('the agents include the default one and those that only other agents call', async () => {
      const agents = await host.opencode.agents()
      expect(agents).toContainEqual(expect.objectContaining({ name: 'build', mode: 'primary' }))
      expect(agents).toContainEqual(expect.objectContaining({ name: 'general', mode: 'subagent' }))
    })
  })
}
