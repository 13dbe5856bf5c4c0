import { afterAll, beforeAll, expect, test } from 'vitest'
import { inOrder, READ } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { pollMs: 1000 } })
})
afterAll(() => stage.close())

const ASKS = { text: 'Both would work.\n\n**<question>Postgres or SQLite?</question>**' }

test('a child asks its parent, whose answer goes on in the same session', async () => {
  const parent = await stage.parent(inOrder(READ, ASKS, { text: 'It is SQLite now.' }))
  const [id = ''] = await parent.launch('choose a database')
  await parent.waitForNotice('<result>Both would work.</result>')
  await parent.quiet()
  expect(parent.noticeText).toContain(`id="${id}" run="1" agent="general" status="completed"`)
  expect(parent.noticeText).toContain('<question>Postgres or SQLite?</question>')
  expect(parent.noticeText).toContain(
    `It waits for an answer: send it by background_task with task_id ${id}.`,
  )
  const [list, output] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_output', args: { task_id: id } },
  ])
  expect(list).toContain(`\`${id}\` | ❓ asks: Postgres or SQLite?`)
  expect(output).toMatch(/result:\nBoth would work\.\n\nIt asks:\nPostgres or SQLite\?/)
  const [answer] = await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'SQLite' } }])
  expect(answer).toContain('run: 2, in the same session, with its context')
  await parent.waitForNotice('<result>It is SQLite now.</result>')
  await parent.quiet()
  const last = parent.childRequests.at(-1)
  expect(last?.messages.at(-1)?.content).toBe('SQLite')
  expect(last?.messages.map(({ content }) => content)).toContain(ASKS.text)
  expect(parent.noticeText.match(/<question>/g)).toHaveLength(1)
})

test('the system prompt of a child says how it asks, in each request of each run', async () => {
  const parent = await stage.parent(inOrder(READ, ASKS))
  const [id] = await parent.launch('look and choose')
  await parent.waitForNotice('<question>')
  await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'SQLite' } }])
  await parent.waitForNotice('run="2"')
  const systems = parent.childRequests.map(({ messages }) =>
    messages
      .filter(({ role }) => role === 'system')
      .map(({ content }) => content)
      .join('\n'),
  )
  expect(systems).toHaveLength(3)
  for (const system of systems) {
    expect(system.split('end your final answer with <question>…</question>')).toHaveLength(2)
    // A system prompt that changes would cost the provider's cache.
    expect(system).toBe(systems[0])
  }
})

test('a child that only asks has not failed, and its question wakes its parent', async () => {
  const parent = await stage.parent(() => ({ text: '<question>Which file?</question>' }))
  const [id] = await parent.launch('tidy up')
  await parent.waitForNotice('<question>Which file?</question>')
  await parent.quiet()
  expect(parent.noticeText).toContain(`id="${id}" run="1" agent="general" status="completed"`)
  expect(parent.noticeText).not.toContain('without any text')
  expect(parent.noticeText).not.toContain('<result>')
})

test('a question is found again after a kill, and its answer goes on in the same session', async () => {
  const parent = await stage.parent(inOrder(ASKS, { text: 'It is SQLite.' }))
  const [id] = await parent.launch('choose one')
  await parent.waitForNotice('<question>')
  await parent.quiet()
  await stage.restart('SIGKILL')
  const [list, answer] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_task', args: { task_id: id, prompt: 'SQLite' } },
  ])
  expect(list).toContain('❓ asks: Postgres or SQLite?')
  expect(answer).toContain('run: 2')
  await parent.waitForNotice('<result>It is SQLite.</result>')
  await parent.quiet()
  expect(parent.noticeText.match(/<question>/g)).toHaveLength(1)
})
