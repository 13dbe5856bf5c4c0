import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createPlace, startMcp, type Mcp, type McpOptions, type McpPlace } from '../harness/mcp.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { buildPlugin } from '../harness/plugin.ts'
import type { Script } from '../harness/script.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'

let model: ScriptedModel
let server: OpencodeServer
let place: McpPlace
let mcp: Mcp | undefined

/** Removes a file if its prompt says so, for which OpenCode asks, and is done. */
const worker: Script = ({ messages }) =>
  messages.at(-1)?.content.startsWith('remove')
    ? { tools: [{ name: 'bash', args: { command: 'rm -f nothing.txt', description: 'Removes' } }] }
    : { text: 'done' }

beforeAll(async () => {
  model = await startModel(worker)
  server = await startOpencode({
    model,
    // The plugin is there as well, and must leave the tasks of MCP alone.
    plugins: [await buildPlugin()],
    config: { snapshot: false, permission: { task: { explore: 'deny' }, bash: { 'rm *': 'ask' } } },
  })
})
afterAll(async () => {
  await server.stop()
  await model.close()
})
beforeEach(() => {
  place = createPlace()
})
afterEach(async () => {
  await mcp?.close()
  mcp = undefined
  place.remove()
})

const start = async ({ args = [], ...options }: McpOptions = {}): Promise<Mcp> => {
  const { url, directory } = server
  mcp = await startMcp(place, { args: ['--attach', url, '--root', directory, ...args], ...options })
  return mcp
}

const task = (prompt: string, changes: object = {}): Record<string, unknown> => ({
  description: prompt,
  prompt,
  agent: 'general',
  ...changes,
})

test('a client hands work to agents of a running OpenCode, and reads their results', async () => {
  const { call } = await start()
  const [first, second] = await Promise.all(
    ['one', 'two'].map((prompt) => call('background_task', task(prompt))),
  )
  expect(first?.text).toContain('agent: general')
  const ends = await Promise.all(
    [first, second].map((started) =>
      call('background_output', { task_id: started?.structured.task.task_id, block: true }),
    ),
  )
  expect(ends.map(({ structured }) => structured)).toMatchObject([
    { task: { status: 'completed', kind: 'agent', description: 'one' }, text: 'done' },
    { task: { status: 'completed', kind: 'agent', description: 'two' }, text: 'done' },
  ])
  // The session of the client is named after it, and no model answers in it.
  const { data: sessions = [] } = await server.client.session.list()
  const parent = sessions.find(({ title }) => title === 'MCP: tests')
  expect(parent).toBeDefined()
  expect(model.requests.filter(({ sessionID }) => sessionID === parent?.id)).toEqual([])
})

test('agents and commands are listed together, and each tool takes the id of either', async () => {
  const { call } = await start()
  const command = (await call('run_background', { command: 'sleep 600', timeout: 0 })).structured.task
  const agent = (await call('background_task', task('work'))).structured.task
  await call('background_output', { task_id: agent.task_id, block: true })
  const listed = (await call('list_background')).structured.tasks.map(({ task_id }) => task_id)
  expect(listed).toContain(command.task_id)
  expect(listed).toContain(agent.task_id)
  expect((await call('check_background', { task_id: agent.task_id })).structured).toMatchObject({
    text: 'done',
  })
  expect((await call('background_output', { task_id: command.task_id })).structured.task.status).toBe(
    'running',
  )
  expect(await call('background_task', task('more', { task_id: command.task_id }))).toMatchObject({
    isError: true,
    text: expect.stringContaining('is a command: it reads no prompts') as string,
  })
  const stopped = await call('background_cancel', { all: true })
  expect(stopped.structured.tasks).toMatchObject([
    { task: { task_id: command.task_id, status: 'cancelled' } },
  ])
})

test("the server's rules for task hold", async () => {
  const { call } = await start()
  const refused = await call('background_task', task('look', { agent: 'explore' }))
  expect(refused).toMatchObject({
    isError: true,
    text: expect.stringContaining('deny task: explore') as string,
  })
})

test('a question of an agent for a permission that nobody answers is rejected, and told', async () => {
  const told: unknown[] = []
  const { call } = await start({
    args: ['--permission-timeout-ms', '1000'],
    era: 'legacy',
    prepare: (client) =>
      client.setNotificationHandler('notifications/message', ({ params }) => void told.push(params.data)),
  })
  const { task_id } = (await call('background_task', task('remove it'))).structured.task
  const ended = await call('background_output', { task_id, block: true })
  expect(ended.structured).toMatchObject({ task: { status: 'completed' } })
  expect(told).toContainEqual({
    task_id,
    status: 'waiting',
    text: 'waiting for a permission: bash rm -f nothing.txt',
  })
  expect(told.at(-1)).toMatchObject({ task_id, status: 'completed' })
})

test('the next server of the client finds its agents again', async () => {
  const first = await start()
  const { task_id } = (await first.call('background_task', task('work'))).structured.task
  await first.call('background_output', { task_id, block: true })
  await first.close()
  const second = await start()
  expect((await second.call('background_output', { task_id })).structured).toMatchObject({
    task: { status: 'completed' },
    text: 'done',
  })
})

test('a server that is away is named by the calls, and commands run without it', async () => {
  const { call } = await start({ args: ['--attach', 'http://127.0.0.1:9'] })
  const refused = await call('background_task', task('work'))
  expect(refused).toMatchObject({
    isError: true,
    text: expect.stringContaining('could not be reached') as string,
  })
  const { structured } = await call('run_background', { command: 'echo fine' })
  const ended = await call('check_background', { task_id: structured.task.task_id, wait: true })
  expect(ended.structured.stdout?.text).toBe('fine\n')
  expect((await call('list_background')).text).toContain('could not be reached')
})

test('a client whose session was deleted in OpenCode gets another one', async () => {
  const { call } = await start()
  await call('background_task', task('work'))
  const { data: sessions = [] } = await server.client.session.list()
  const parents = sessions.filter(({ title }) => title === 'MCP: tests')
  for (const { id } of parents) await server.client.session.delete({ path: { id } })
  expect(await call('background_task', task('more'))).toMatchObject({ isError: false })
})

test('the story of an agent has no notices', async () => {
  const { call } = await start()
  const { task_id } = (await call('background_task', task('work'))).structured.task
  await call('background_output', { task_id, block: true })
  const { text } = await call('background_output', { task_id, story: true })
  expect(text).toContain('the model answers')
  expect(text).not.toContain('notice')
})
