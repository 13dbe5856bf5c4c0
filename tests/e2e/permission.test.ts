import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import type { Script } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({
    options: {
      permissionTimeoutMs: 120_000,
      permissionNoticeMs: 0,
      timeoutMs: 300_000,
      stalledAfterMs: 60_000,
    },
    config: { permission: { bash: { 'rm *': 'ask' } } },
  })
})
afterAll(() => stage.close())

/** Calls a command that needs a permission, and answers with its result. */
const remover: Script = ({ messages }) => {
  const last = messages.at(-1)
  if (last?.role !== 'tool')
    return { tools: [{ name: 'bash', args: { command: 'rm -f nothing.txt', description: 'Removes' } }] }
  return { text: last.content.includes('No answer within') ? 'went on without it' : 'removed' }
}

async function asked(parent: Parent): Promise<{ id: string; sessionID: string }> {
  const { sessionID } = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const event = await stage.server.events.waitFor(
    ({ type, properties }) => type === 'permission.asked' && properties.sessionID === sessionID,
  )
  return { id: event.type === 'permission.asked' ? event.properties.id : '', sessionID }
}

test('a child that requests a permission is shown as waiting, and continues when it is granted', async () => {
  const parent = await stage.parent(remover)
  const [id] = await parent.launch('tidy up')
  const request = await asked(parent)
  const [list, output] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_output', args: { task_id: id } },
  ])
  expect(list).toContain('✋ waiting for a permission: bash rm -f nothing.txt')
  expect(output).toContain('status: waiting (for a permission: bash rm -f nothing.txt)')
  const toast = await stage.server.events.waitFor((event) => event.type === 'tui.toast.show')
  expect(JSON.stringify(toast)).toContain(
    'tidy up (agent general) waits for a permission: bash rm -f nothing.txt',
  )
  await stage.server.client.postSessionIdPermissionsPermissionId({
    path: { id: request.sessionID, permissionID: request.id },
    body: { response: 'once' },
  })
  await parent.waitForNotice('<result>removed</result>')
})

test('an unanswered permission request is rejected with a message, and the child continues', async () => {
  const parent = await stage.parent(remover)
  await parent.launch('tidy up')
  await asked(parent)
  await stage.pass(120_000)
  await parent.waitForNotice('<result>went on without it</result>')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a cancel of a child withdraws its permission request', async () => {
  const parent = await stage.parent(remover)
  const [id] = await parent.launch('tidy up')
  const request = await asked(parent)
  const [answer] = await parent.call([{ name: 'background_cancel', args: { task_id: id } }])
  expect(answer).toContain('was cancelled after')
  await expect
    .poll(async () => {
      const url = `${stage.server.url}/permission?directory=${encodeURIComponent(stage.server.directory)}`
      return JSON.stringify(await (await fetch(url)).json())
    })
    .not.toContain(request.id)
})

test('a task that exceeds its timeout is stopped, and reported as failed', async () => {
  const parent = await stage.parent(() => new Promise(() => {}))
  await parent.launch('take for ever')
  await stage.model.waitForRequest(({ parentSessionID }) => parentSessionID === parent.id)
  await stage.pass(300_000)
  const told = await parent.waitForNotice('which is its limit (timeoutMs)')
  expect(told.messages.at(-1)?.content).toContain('<error>stopped after 5m 0s')
  await parent.quiet()
  expect(parent.childRequests.map(({ outcome }) => outcome)).toEqual(['closed'])
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child without events for long is shown as silent, and left alone', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const [id] = await parent.launch('think')
  await stage.model.waitForRequest(({ parentSessionID }) => parentSessionID === parent.id)
  await stage.pass(60_000)
  const [list, output] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_output', args: { task_id: id } },
  ])
  expect(list).toMatch(/⏳ running, silent for 1m \d+s/)
  expect(output).toMatch(/status: running \(silent for 1m \d+s\)/)
  release({ text: 'thought it over' })
  await parent.waitForNotice('thought it over')
})
