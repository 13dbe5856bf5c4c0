import type { CallToolResult, ListToolsResult } from '@modelcontextprotocol/client'
import { CreateTaskResultV2Schema, GetTaskResultV2Schema } from '@modelcontextprotocol/ext-tasks/core/v2'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as z from 'zod'
import {
  createPlace,
  startMcp,
  startRawMcp,
  type Era,
  type Mcp,
  type McpOptions,
  type McpPlace,
  type Structured,
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

test('the wait after one that returned a text of notify_on is for the end', async () => {
  const { call } = await start()
  const command = `echo ready; ${untilFile('go')}`
  const { task } = (await call('run_background', { command, notify_on: ['ready'] })).structured
  const wait = { task_id: task.task_id, wait: true }
  expect((await call('check_background', wait)).structured.task).toMatchObject({ status: 'running' })
  const ended = call('check_background', wait)
  mkdirSync(join(place.root, 'go'))
  expect((await ended).structured.task).toMatchObject({ status: 'completed' })
})

test('a wait returns with the lines that match an expression, once in a gap, and at the end', async () => {
  const { call } = await start()
  const command = `echo FAIL 1; ${untilFile('go')}; echo FAIL 2`
  const args = { command, notify_on: ['FAIL|ERROR'], notify_every: true, timeout: 0 }
  const { task } = (await call('run_background', args)).structured
  const wait = { task_id: task.task_id, wait: true }
  const first = await call('check_background', wait)
  expect(first.structured).toMatchObject({ task: { status: 'running' } })
  expect(first.structured).toMatchObject({ monitor: { matching_lines: 1, last_lines: ['FAIL 1'] } })
  const over = await call('check_background', { ...wait, timeout: 1000 })
  expect(over.structured.task.status).toBe('running')
  mkdirSync(join(place.root, 'go'))
  const ended = await call('check_background', wait)
  expect(ended.structured).toMatchObject({
    task: { status: 'completed' },
    monitor: { matching_lines: 2, notices: 1, last_lines: ['FAIL 1', 'FAIL 2'] },
  })
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
      'not found',
    )
  },
)

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'x', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
}

/** Runs a command, and resolves with the methods of the notifications that had come when its wait was answered. */
async function notificationsOfAnEnd(_meta?: typeof META): Promise<readonly unknown[]> {
  const raw = await startRawMcp(place)
  try {
    const call = async (name: string, input: object) => {
      const { result } = await raw.request('tools/call', { name, arguments: input, ...(_meta && { _meta }) })
      return (result as { readonly structuredContent: Structured }).structuredContent
    }
    const { task } = await call('run_background', { command: 'true' })
    const ended = await call('check_background', { task_id: task.task_id, wait: true })
    expect(ended.task.status).toBe('completed')
    return raw.notifications.map(({ method }) => method)
  } finally {
    await raw.close()
  }
}

test('a client of the modern era gets no notification for which it has not asked', async () => {
  expect(await notificationsOfAnEnd(META)).toEqual([])
})

test('a client of the legacy era hears of no resource to which it has not subscribed', async () => {
  const methods = await notificationsOfAnEnd()
  expect(methods).toContain('notifications/message')
  expect(methods).not.toContain('notifications/resources/updated')
})

test('a cancelled wait ends, and reports no more progress', async () => {
  const raw = await startRawMcp(place)
  try {
    const call = (name: string, input: object, _meta = {}) =>
      raw.request('tools/call', { name, arguments: input, _meta: { ...META, ..._meta } })
    const { result } = await call('run_background', { command: untilFile('go') })
    const { task } = (result as { readonly structuredContent: Structured }).structuredContent
    const waitAs = (progressToken: string): Promise<Record<string, unknown>> =>
      call('check_background', { task_id: task.task_id, wait: true }, { progressToken })
    const reports = () =>
      raw.notifications.map(({ params }) => (params as { readonly progressToken: unknown }).progressToken)
    void waitAs('cancelled')
    const other = waitAs('other')
    await expect.poll(reports).toEqual(expect.arrayContaining(['cancelled', 'other']))
    // The second request of this server.
    raw.notify('notifications/cancelled', { requestId: 2 })
    // Its answer comes after all that was reported before the cancellation.
    await call('list_background', {})
    const from = reports().length
    // The wait that began first would report first.
    await expect.poll(() => reports().length).toBeGreaterThan(from + 1)
    mkdirSync(join(place.root, 'go'))
    expect(await other).toMatchObject({ result: { structuredContent: { task: { status: 'completed' } } } })
    expect(reports().slice(from)).not.toContain('cancelled')
  } finally {
    await raw.close()
  }
})

test('a client that declares the tasks extension gets a durable handle, and asks for the end', async () => {
  const raw = await startRawMcp(place)
  try {
    const capabilities = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
    const envelope = { ...META, 'io.modelcontextprotocol/clientCapabilities': capabilities }
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
    const completed = await get(handle.taskId)
    expect(completed).toMatchObject({
      result: { structuredContent: { task: { exit_code: 5 }, stdout: { text: 'saw go\n' } } },
    })
    const { result } = (await raw.request('tools/list', { _meta: envelope })) as {
      readonly result: ListToolsResult
    }
    const tool = result.tools.find(({ name }) => name === 'run_background')
    const { structuredContent } = (completed as unknown as { readonly result: CallToolResult }).result
    z.fromJSONSchema(tool?.outputSchema as Record<string, unknown>).parse(structuredContent)
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
    for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel'])
      expect(await raw.request(method, { taskId: handle.taskId, _meta: META })).toMatchObject({
        error: { code: -32021, data: { requiredCapabilities: capabilities } },
      })
  } finally {
    await raw.close()
  }
})

test('the result of a task is read without the roots of the client', async () => {
  const extensions = { 'io.modelcontextprotocol/tasks': {} }
  const _meta = { ...META, 'io.modelcontextprotocol/clientCapabilities': { extensions } }
  const first = await startRawMcp(place)
  const run = { name: 'run_background', arguments: { command: 'true' }, _meta }
  const { taskId } = CreateTaskResultV2Schema.parse((await first.request('tools/call', run))['result'])
  await expect
    .poll(async () => (await first.request('tasks/get', { taskId, _meta }))['result'])
    .toMatchObject({ status: 'completed' })
  await first.close()
  const second = await startRawMcp(place)
  try {
    const withRoots = { ..._meta, 'io.modelcontextprotocol/clientCapabilities': { extensions, roots: {} } }
    expect(await second.request('tasks/get', { taskId, _meta: withRoots })).toMatchObject({
      result: { status: 'completed', result: { structuredContent: { task: { exit_code: 0 } } } },
    })
  } finally {
    await second.close()
  }
})
