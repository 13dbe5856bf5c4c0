import { afterAll, beforeAll, expect, test } from 'vitest'
import { BAD, heldReply, READ } from '../harness/replies.ts'
import type { Reply } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage
/** The answers of the parents' model to certain messages; it obeys all others. */
const replies = new Map<string, () => Reply>()

beforeAll(async () => {
  stage = await startStage({
    config: {
      permission: { bash: { 'rm *': 'ask' } },
      command: { greet: { template: 'say hello to $ARGUMENTS', description: 'Greets.' } },
    },
    env: { OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS: 'true' },
  })
  const inner = stage.model.script
  stage.model.script = (request) => {
    if (request.parentSessionID !== undefined) return inner(request)
    const reply = replies.get(request.messages.at(-1)?.content ?? '')
    return reply ? reply() : inner(request)
  }
})
afterAll(() => stage.close())

const client = () => stage.server.client.session
const statuses = async () => (await client().status({ throwOnError: true })).data

/** Events in a parent that are no interruption. */
const stories: Readonly<Record<string, (parent: Parent) => Promise<unknown>>> = {
  'a turn': (parent) => parent.say('hello'),
  'a turn with tools': async (parent) => {
    replies.set('look', () => READ)
    await parent.say('look')
  },
  'a turn that fails': async (parent) => {
    replies.set('fail', () => BAD)
    await parent.say('fail')
  },
  'a turn that recovers': async (parent) => {
    let count = 0
    replies.set('stumble', () => {
      count += 1
      return count === 1 ? { status: 503, text: 'busy' } : { text: 'up again' }
    })
    await parent.say('stumble')
  },
  'a model that does not exist': async (parent) => {
    await stage.server.prompt(parent.id, 'hello', { model: 'm99' })
    await stage.server.events.waitFor(
      ({ type, properties }) => type === 'session.error' && properties.sessionID === parent.id,
    )
    await parent.say('never mind', { model: 'm1' })
  },
  'a command': async (parent) => {
    await client().command({ path: { id: parent.id }, body: { command: 'greet', arguments: 'all' } })
  },
  'a shell command': async (parent) => {
    await client().shell({ path: { id: parent.id }, body: { agent: 'build', command: 'echo hi' } })
  },
  'a compaction': async (parent) => {
    await client().summarize({ path: { id: parent.id }, body: { providerID: 'mock', modelID: 'm1' } })
  },
  'a full context': async (parent) => {
    let isFull = true
    replies.set('fill', () => {
      const reply = isFull ? { status: 400, text: 'context length exceeded' } : { text: 'emptied' }
      isFull = false
      return reply
    })
    await parent.say('fill')
  },
  'a rejected permission': async (parent) => {
    replies.set('clean', () => ({ tools: [{ name: 'bash', args: { command: 'rm -rf x' } }] }))
    await stage.server.prompt(parent.id, 'clean')
    const asked = await stage.server.events.waitFor(
      ({ type, properties }) => type === 'permission.asked' && properties.sessionID === parent.id,
    )
    const permissionID = asked.type === 'permission.asked' ? asked.properties.id : ''
    await stage.server.client.postSessionIdPermissionsPermissionId({
      path: { id: parent.id, permissionID },
      body: { response: 'reject' },
    })
  },
  'a message without a reply': (parent) => stage.server.prompt(parent.id, 'note this', { noReply: true }),
  'an undo that is taken back': async (parent) => {
    const stored = await stage.server.messages(parent.id)
    const messageID = stored[0]?.info.id ?? ''
    await client().revert({ path: { id: parent.id }, body: { messageID } })
    await client().unrevert({ path: { id: parent.id } })
  },
  "a task of OpenCode's own": async (parent) => {
    const args = { description: 'native', prompt: 'native', subagent_type: 'explore', background: false }
    await parent.call([{ name: 'task', args }])
  },
  'the abort of another session': async () => {
    const other = await stage.parent()
    await other.say('hello')
    await client().abort({ path: { id: other.id } })
  },
}

test.each(Object.keys(stories))('a parent is woken after %s', async (name) => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content === 'errand' ? reply : { text: 'done' },
  )
  await parent.launch('errand')
  await parent.quietBesidesChildren()
  await stories[name]?.(parent)
  await expect.poll(async () => parent.id in (await statuses())).toBe(false)
  await stage.pass(1000)
  release({ text: 'wake up' })
  await parent.waitForNotice('wake up')
  expect(parent.noticeTurns.length).toBeGreaterThan(0)
})

test("a notice that piggybacks on a plugin's message without a reply wakes its parent", async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content === 'quick' ? reply : new Promise(() => {}),
  )
  await parent.launch('quick', 'slow')
  await parent.quietBesidesChildren()
  const before = parent.requests.length
  await stage.frozen(async () => {
    release({ text: 'the quick result' })
    await parent.childrenAreIdle('quick')
    await stage.settle()
    await stage.server.prompt(parent.id, 'the user likes tea', { noReply: true })
  })
  await stage.pass(10_000)
  await expect.poll(() => parent.requests.length).toBe(before + 1)
  await parent.quietBesidesChildren()
  await stage.pass(60_000)
  expect(parent.requests).toHaveLength(before + 1)
  expect(parent.noticeText.split('the quick result')).toHaveLength(2)
  await parent.call([{ name: 'background_cancel', args: { all: true } }])
})
