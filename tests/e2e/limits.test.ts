import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({
    options: { concurrency: { total: 3, providers: { mock: 2 }, models: { 'mock/m2': 1 } } },
    agents: { ghost: { mode: 'subagent', description: 'Runs on nothing.', model: 'mock/none' } },
  })
})
afterAll(() => stage.close())

const asked = (parent: Parent): unknown[] =>
  parent.childRequests.map(({ messages }) => messages.at(-1)?.content)

test('the limits of a model and of its provider both hold, and a waiting task blocks no other', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const model = { model: 'mock/m2' }
  // Launch one after another, because the calls of one step run at once, in no order.
  const answers = [
    ...(await parent.call([backgroundTask('a', model)])),
    ...(await parent.call([backgroundTask('b', model)])),
    ...(await parent.call([backgroundTask('c')])),
    ...(await parent.call([backgroundTask('d')])),
  ]
  expect(answers.map((answer) => /status: (\w+)/.exec(answer)?.[1])).toEqual([
    'running',
    'pending',
    'running',
    'pending',
  ])
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  expect(new Set(asked(parent))).toEqual(new Set(['a', 'c']))
  expect(parent.childRequests.map(({ model: used }) => used).toSorted()).toEqual(['m1', 'm2'])
  release({ text: 'done' })
  for (const answer of answers) await parent.waitForNotice(/bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer)
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(4)
})

test('a parent with many tasks does not starve the task of another', async () => {
  const held = heldReply()
  const first = await stage.parent(() => held.reply)
  await first.launch(...Array.from({ length: 12 }, (_, index) => `many ${index}`))
  await stage.model.waitForRequest(() => first.childRequests.length === 2)
  const second = await stage.parent(() => ({ text: 'my turn' }))
  await second.launch('one')
  held.release({ text: 'done' })
  const turn = await second.waitForNotice('my turn')
  const earlier = first.childRequests.filter(({ at }) => at < (second.childRequests[0]?.at ?? turn.at))
  // Two children ran already, and the queue alternates between the parents.
  expect(earlier.length).toBeLessThanOrEqual(4)
  await first.waitForNotice('many 11')
  await first.quiet()
  expect(first.childRequests).toHaveLength(12)
})

test('a launch with an unknown model is refused with known ones, and creates nothing', async () => {
  const parent = await stage.parent()
  const answers = await parent.call([
    backgroundTask('x', { model: 'mock/m7' }),
    backgroundTask('x', { model: 'nobody/m1' }),
    backgroundTask('x', { model: 'm7' }),
  ])
  expect(answers[0]).toContain('There is no model "mock/m7". Models of mock: mock/m1, mock/m2, mock/m3.')
  expect(answers[1]).toContain('There is no model "nobody/m1". Providers here: mock.')
  expect(answers[2]).toContain('Use the form provider/model.')
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  expect(data).toEqual([])
})

test('a child on a model that does not exist is reported once, as failed, with the text', async () => {
  const parent = await stage.parent()
  await parent.call([backgroundTask('haunt', { agent: 'ghost' })])
  await parent.waitForNotice('Model not found')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="failed"')
})

test('no child starts on a provider during its backoff', async () => {
  let count = 0
  const parent = await stage.parent(({ messages }) => {
    count += 1
    if (count === 1) return { status: 429, text: 'slow down', headers: { 'retry-after-ms': '60000' } }
    return { text: `result of ${messages.at(-1)?.content}` }
  })
  await parent.launch('first')
  await stage.server.events.waitFor(
    ({ type, properties }) => type === 'session.status' && properties.status.type === 'retry',
  )
  await parent.launch('held')
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toMatch(/⏳ pending, provider retrying, for (1m \d|[345]\d\.\d)s/)
  await stage.pass(30_000)
  expect(parent.childRequests).toHaveLength(1)
  await stage.pass(60_000)
  await parent.waitForNotice('result of held')
  await parent.call([{ name: 'background_cancel', args: { all: true } }])
})
