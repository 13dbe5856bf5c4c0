import { CreateTaskResultV2Schema, GetTaskResultV2Schema } from '@modelcontextprotocol/ext-tasks/core/v2'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createPlace,
  startMcp,
  startRawMcp,
  type Era,
  type Mcp,
  type McpOptions,
  type McpPlace,
} from '../harness/mcp.ts'

let place: McpPlace
let mcp: Mcp | undefined
const start = async (options?: McpOptions): Promise<Mcp> => {
  mcp = await startMcp(place, options)
  return mcp
}

beforeEach(() => {
  place = createPlace()
})
afterEach(async () => {
  await mcp?.close()
  mcp = undefined
  place.remove()
})

const untilFile = (name: string): string => `while [ ! -e ${name} ]; do sleep 0.05; done; echo "saw ${name}"`
const ERAS: readonly Era[] = ['legacy', 'modern']

test.each(ERAS)('a wait reports its progress to a client of the %s era', async (era) => {
  const { client, call } = await start({ era })
  const { task } = (await call('run_background', { command: untilFile('go') })).structured
  const messages: (string | undefined)[] = []
  const waited = client.callTool(
    { name: 'check_background', arguments: { task_id: task.task_id, wait: true } },
    { onprogress: ({ message }) => messages.push(message) },
  )
  await expect.poll(() => messages[0]).toContain(`${task.task_id} is running`)
  mkdirSync(join(place.root, 'go'))
  expect((await waited).structuredContent).toMatchObject({ task: { status: 'completed' } })
})

test('a wait returns when a text of notify_on appears, and when its timeout is over', async () => {
  const { call } = await start()
  const server = { command: 'echo ready; sleep 600', notify_on: ['ready'], timeout: 0 }
  const { task } = (await call('run_background', server)).structured
  const ready = await call('check_background', { task_id: task.task_id, wait: true })
  expect(ready.structured.task).toMatchObject({ status: 'running', matched: 'ready' })
  const silent = (await call('run_background', { command: 'sleep 600', timeout: 0 })).structured.task
  const over = await call('check_background', { task_id: silent.task_id, wait: true, timeout: 1000 })
  expect(over.structured.task.status).toBe('running')
})

test('a client of the legacy era is told of an end by a log notification', async () => {
  const told: unknown[] = []
  const { call } = await start({
    era: 'legacy',
    prepare: (client) =>
      client.setNotificationHandler('notifications/message', ({ params }) => void told.push(params.data)),
  })
  const { task } = (await call('run_background', { command: 'exit 4' })).structured
  await expect
    .poll(() => told)
    .toEqual([{ task_id: task.task_id, status: 'failed', text: 'failed: exit: exit code 4' }])
})

test.each(ERAS)(
  'the output of a command is a resource, and its end updates it, in the %s era',
  async (era) => {
    const updated: string[] = []
    const { client, call } = await start({
      era,
      prepare: (each) =>
        each.setNotificationHandler(
          'notifications/resources/updated',
          ({ params }) => void updated.push(params.uri),
        ),
    })
    const { task } = (await call('run_background', { command: untilFile('go'), label: 'waits' })).structured
    const uri = `command-output://${task.task_id}/stdout`
    await expect
      .poll(async () => (await client.listResources()).resources.map((resource) => resource.uri))
      .toContain(uri)
    if (era === 'legacy') await client.subscribeResource({ uri })
    else await client.listen({ resourceSubscriptions: [uri] })
    mkdirSync(join(place.root, 'go'))
    await expect.poll(() => updated).toEqual([uri])
    const { contents } = await client.readResource({ uri })
    expect(contents).toEqual([{ uri, mimeType: 'text/plain', text: 'saw go\n' }])
    await expect(client.readResource({ uri: 'command-output://bg_00000000/stdout' })).rejects.toThrow(
      /not found/i,
    )
  },
)

test('a client that declares the tasks extension gets a durable handle, and asks for the end', async () => {
  const raw = await startRawMcp(place)
  try {
    const envelope = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'x', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': { extensions: { 'io.modelcontextprotocol/tasks': {} } },
    }
    const call = (name: string, input: object) =>
      raw.request('tools/call', { name, arguments: input, _meta: envelope })
    const get = async (taskId: unknown) => {
      const answer = await raw.request('tasks/get', { taskId, _meta: envelope })
      return GetTaskResultV2Schema.parse(answer['result'])
    }
    const started = await call('run_background', { command: `${untilFile('go')}; exit 5` })
    const handle = CreateTaskResultV2Schema.parse(started['result'])
    expect(handle.status).toBe('working')
    expect(await get(handle.taskId)).toMatchObject({ status: 'working' })
    mkdirSync(join(place.root, 'go'))
    await expect.poll(async () => (await get(handle.taskId)).status).toBe('completed')
    expect(await get(handle.taskId)).toMatchObject({
      result: { structuredContent: { task: { exit_code: 5 }, stdout: { text: 'saw go\n' } } },
    })
    const stopped = CreateTaskResultV2Schema.parse(
      (await call('run_background', { command: 'sleep 600' }))['result'],
    )
    await raw.request('tasks/cancel', { taskId: stopped.taskId, _meta: envelope })
    await expect.poll(async () => (await get(stopped.taskId)).status).toBe('cancelled')
    // A server has no end to wait for.
    const server = await call('run_background', { command: 'sleep 600', timeout: 0 })
    expect(server).toMatchObject({ result: { resultType: 'complete' } })
    expect(await raw.request('tasks/get', { taskId: 'bg_00000000', _meta: envelope })).toMatchObject({
      error: { code: -32602 },
    })
  } finally {
    await raw.close()
  }
})
