import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply, inOrder, READ } from '../harness/replies.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'
import type { ToolCall } from '../harness/script.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { concurrency: { total: 1 } } })
})
afterAll(() => stage.close())

const say = (task_id: string | undefined, prompt: string, more: object = {}): ToolCall => ({
  name: 'background_task',
  args: { task_id, prompt, ...more },
})

test('a running task reads a message at its next step, in one run that is reported once', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(inOrder(reply, { text: 'blue, then' }))
  const [id] = await parent.launch('paint it red')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  const [answer] = await parent.call([say(id, 'no, blue')])
  expect(answer).toContain(`task_id: ${id}\nstatus: running\nagent: general\ndescription: paint it red`)
  expect(answer).toContain('It reads the prompt at its next step.')
  release(READ)
  await parent.waitForNotice('blue, then')
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(2)
  expect(parent.childRequests[1]?.messages.at(-1)).toEqual({ role: 'user', content: 'no, blue' })
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain(`id="${id}" run="1"`)
})

test('a message is appended to the prompt of a pending task, and continues an ended task', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) => {
    const last = messages.at(-1)?.content ?? ''
    if (last === 'first') return reply
    return { text: `heard: ${last.replaceAll('\n', ' ')}` }
  })
  const [firstID, secondID] = await parent.launchInTurn('first', 'second')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  const [appended] = await parent.call([say(secondID, 'and quickly')])
  expect(appended).toContain('status: pending (number 1 in the queue)')
  expect(appended).toContain('The prompt was added')
  release({ text: 'first answer' })
  await parent.waitForNotice('heard: second  and quickly')
  await parent.quiet()
  const [again] = await parent.call([say(firstID, 'go on', { description: 'the second leg' })])
  expect(again).toContain('run: 2, in the same session')
  await parent.waitForNotice('heard: go on')
  await parent.quiet()
  const last = parent.childRequests.at(-1)
  expect(last?.sessionID).toBe(parent.childRequests[0]?.sessionID)
  expect(last?.messages.filter(({ role }) => role !== 'system').map(({ content }) => content)).toEqual([
    'first',
    'first answer',
    'go on',
  ])
  expect(parent.noticeText).toMatch(new RegExp(`id="${firstID}" run="2"[^>]*>\\nthe second leg`))
  expect(parent.noticeText.split('first answer')).toHaveLength(2)
  // Each answer of the scripted model has 15 tokens, which cost nothing.
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('Ended runs: 45 tokens, $0\n')
  expect(list).toMatch(new RegExp(`\\| \`${firstID}\` .*\\| 30 \\| \\$0 \\|`))
  expect(list).toMatch(new RegExp(`\\| \`${secondID}\` .*\\| 15 \\| \\$0 \\|`))
})

test('a refused message says what to do, and changes nothing', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('work')
  await parent.waitForNotice('done')
  const answers = await parent.call([
    say('bg_00000000', 'hello'),
    say(id, ' '),
    say(id, 'hello', { agent: 'explore' }),
    say(id, 'hello', { model: 'mock/m9' }),
  ])
  expect(answers[0]).toContain(`Task "bg_00000000" not found. Known here: ${id}.`)
  expect(answers[1]).toContain('prompt: must not be empty')
  expect(answers[2]).toContain(`${id} already runs as agent "general"`)
  expect(answers[3]).toContain('There is no model "mock/m9". Models of mock: mock/m1, mock/m2, mock/m3.')
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(1)
})

test('a message with a model continues the task on that model', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('work')
  await parent.waitForNotice('done')
  await parent.call([say(id, 'again', { model: 'mock/m2' })])
  await parent.waitForNotice('run="2"')
  expect(parent.childRequests.map(({ model }) => model)).toEqual(['m1', 'm2'])
})

test('a message to a task whose session the user has deleted is refused', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('work')
  await parent.waitForNotice('done')
  const sessionID = parent.childRequests[0]?.sessionID ?? ''
  await stage.server.client.session.delete({ path: { id: sessionID } })
  const [answer] = await parent.call([say(id, 'again')])
  expect(answer).toContain('was deleted. Start a new task.')
})

test('permission rules that deny an agent as a task also refuse messages to it', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('work')
  await parent.waitForNotice('done')
  const [answer] = await parent.call([say(id, 'again')], { agent: 'plan' })
  expect(answer).toContain('prevents you from using this')
  expect((await parent.call([backgroundTask('x', { agent: 'explore' })], { agent: 'plan' }))[0]).toMatch(
    /^task_id/,
  )
})

test('a continued task leaves messages undone that the user has undone', async () => {
  const parent = await stage.parent(({ messages }) => {
    const last = messages.at(-1)?.content ?? ''
    return last === 'bad plan' ? { status: 400, text: 'bad request' } : { text: `heard: ${last}` }
  })
  const [id] = await parent.launch('bad plan')
  await parent.waitForNotice('bad request')
  await parent.quiet()
  const child = parent.childRequests[0]?.sessionID ?? ''
  const [prompt] = await stage.server.messages(child)
  await stage.server.client.session.revert({
    path: { id: child },
    body: { messageID: prompt?.info.id ?? '' },
    throwOnError: true,
  })
  await stage.server.prompt(child, 'good plan')
  await stage.server.waitForIdle(child)
  await parent.call([say(id, 'more')])
  await parent.waitForNotice('run="2"')
  const heard = parent.childRequests.at(-1)?.messages.filter(({ role }) => role === 'user')
  expect(heard?.map(({ content }) => content)).toEqual(['good plan', 'more'])
})
