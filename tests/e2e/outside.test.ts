/** The manager in another process than OpenCode: over the event stream of a real server, through a proxy. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { OptionsInput } from '../../src/config.ts'
import { BackgroundManager } from '../../src/manager.ts'
import { startOutside, type OutsideProcess } from '../harness/outside-process.ts'
import { startProxy, type Proxy } from '../harness/proxy.ts'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage
let proxy: Proxy
let manager: BackgroundManager

beforeAll(async () => {
  // The plugin is there as well, and must leave the tasks of the manager outside alone.
  stage = await startStage()
})
afterAll(() => stage.close())

beforeEach(async () => {
  proxy = await startProxy(stage.server.url)
  manager = managerAt(proxy.url)
})
afterEach(async () => {
  await manager.dispose()
  await proxy.close()
})

function managerAt(
  baseUrl: string,
  {
    name = 'outside',
    headers = {},
    options = {},
  }: { name?: string; headers?: object; options?: OptionsInput } = {},
): BackgroundManager {
  const { directory } = stage.server
  const client = createOpencodeClient({ baseUrl, directory, headers: { ...headers } })
  return new BackgroundManager({ name, client, directory, options })
}

/** Launches a task outside, and resolves with its id when its model was asked. */
async function launch(parent: Parent, prompt = 'work'): Promise<string> {
  const { id } = await manager.launch({ parentID: parent.id, agent: 'general', description: prompt, prompt })
  await stage.model.waitForRequest(
    ({ parentSessionID, messages }) =>
      parentSessionID === parent.id && messages.some(({ content }) => content === prompt),
  )
  return id
}

/**
 * Writes, waits until the ends of these tasks were told, and writes once more; resolves with the ends that the parent's model
 * has read by then: `id status`. The managers outside have clocks of their own, so that quiet in the server proves nothing.
 */
async function ends(parent: Parent, ...ids: readonly string[]): Promise<string[]> {
  await parent.say('And now?')
  for (const id of ids) await parent.waitForNotice(id)
  await parent.say('And then?')
  return [...parent.noticeText.matchAll(/<background_task id="(\w+)"[^>]*status="(\w+)"/g)].map(
    ([, id, status]) => `${id} ${status}`,
  )
}

test('the events of the stream end a task, and one notice wakes its parent', async () => {
  await manager.follow()
  const parent = await stage.parent(() => ({ text: 'the answer' }))
  const id = await launch(parent)
  await manager.waitForCompletion(id)
  const { task, transcript } = await manager.output(id)
  expect(task.status).toBe('completed')
  expect(transcript?.text).toBe('the answer')
  await parent.waitForNotice('the answer')
  expect(await ends(parent, id)).toEqual([`${id} completed`])
})

test('the plugin and a manager outside leave the tasks of each other alone in one session', async () => {
  await manager.follow()
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const [inside = ''] = await parent.launch('inside')
  const id = await launch(parent)
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  const [list, cancelled] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_cancel', args: { task_id: id } },
  ])
  expect(list).toContain(inside)
  expect(list).not.toContain(id)
  expect(cancelled).toContain('is run by another process')
  expect(manager.list(parent.id).map((task) => task.id)).toEqual([id])
  await manager.recover(parent.id)
  expect(manager.list(parent.id).map((task) => task.id)).toEqual([id])
  release({ text: 'the answer' })
  await manager.waitForCompletion(id)
  expect((await ends(parent, id, inside)).toSorted()).toEqual(
    [`${id} completed`, `${inside} completed`].toSorted(),
  )
})

test('a child that ends while the connection is cut is reported once when it is back', async () => {
  await manager.follow()
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const id = await launch(parent)
  proxy.cut()
  release({ text: 'the answer' })
  await parent.childrenAreIdle()
  proxy.restore(stage.server.url)
  await parent.waitForNotice('the answer')
  expect(await ends(parent, id)).toEqual([`${id} completed`])
})

test('a child that works over a broken connection is not taken for one that was cut off', async () => {
  await manager.follow()
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const id = await launch(parent)
  const connections = proxy.connections
  proxy.breakConnections()
  // The manager has subscribed again, and has asked for the statuses.
  await expect.poll(() => proxy.connections - connections).toBeGreaterThan(1)
  expect(manager.get(id)?.status).toBe('running')
  release({ text: 'the answer' })
  await parent.waitForNotice('the answer')
  expect(await ends(parent, id)).toEqual([`${id} completed`])
})

test('a parent that is interrupted while the connection is cut is not woken until its user writes', async () => {
  // A status poll finds the end before the events arrive again.
  const soon = managerAt(proxy.url, { options: { pollMs: 100 } })
  await manager.dispose()
  manager = soon
  await manager.follow()
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const id = await launch(parent)
  const [inside = ''] = await parent.launch('inside')
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  await parent.begin({ name: 'background_output', args: { task_id: inside, block: true } })
  proxy.cut()
  await stage.server.client.session.abort({ path: { id: parent.id } })
  release({ text: 'the answer' })
  await parent.childrenAreIdle()
  // Polls are refused for 2 s, so that the next subscription comes long after the next poll.
  await expect.poll(() => proxy.refusals).toBeGreaterThan(20)
  proxy.restore(stage.server.url)
  const steps = (): unknown[] =>
    (manager.story(id)?.steps ?? []).map((step) => (step.type === 'notice' ? step.notice : step.type))
  await expect.poll(steps).toContain('closed')
  expect(parent.noticeTurns).toHaveLength(0)
  expect((await ends(parent, id, inside)).toSorted()).toEqual(
    [`${id} completed`, `${inside} completed`].toSorted(),
  )
})

test('a restart of the server interrupts a task, which is reported once and can be continued', async () => {
  await manager.follow()
  const { reply } = heldReply()
  let isFirst = true
  const parent = await stage.parent(() => (isFirst ? reply : { text: 'the second answer' }))
  const id = await launch(parent)
  isFirst = false
  await stage.restart('SIGKILL')
  proxy.restore(stage.server.url)
  await expect(manager.waitForCompletion(id)).resolves.toMatchObject({
    task: { status: 'failed', failure: { message: 'OpenCode stopped before the task had ended' } },
  })
  await parent.waitForNotice('OpenCode stopped')
  await manager.continue(id, 'go on')
  await parent.waitForNotice('the second answer')
  expect(await ends(parent, id)).toEqual([`${id} failed`, `${id} completed`])
})

test('a change of the configuration interrupts a task, although OpenCode aborts it like a user', async () => {
  await manager.follow()
  const { reply } = heldReply()
  const parent = await stage.parent(() => reply)
  const id = await launch(parent)
  const { url, directory } = stage.server
  await fetch(`${url}/instance/dispose?directory=${encodeURIComponent(directory)}`, { method: 'POST' })
  await expect(manager.waitForCompletion(id)).resolves.toMatchObject({
    task: { status: 'failed', failure: { reason: 'interrupted' } },
  })
  expect(await ends(parent, id)).toEqual([`${id} failed`])
})

test('a server that is away at the start is followed as soon as it is there', async () => {
  proxy.cut()
  const following = manager.follow()
  const parent = await stage.parent(() => ({ text: 'the answer' }))
  const request = { parentID: parent.id, agent: 'general', description: 'work', prompt: 'work' }
  await expect(manager.launch(request)).rejects.toMatchObject({
    code: 'hostFailed',
    message: expect.stringMatching(/^The task was not started: OpenCode could not be reached .*Try again\.$/),
  })
  proxy.restore(stage.server.url)
  await following
  const id = await launch(parent)
  await parent.waitForNotice('the answer')
  expect(await ends(parent, id)).toEqual([`${id} completed`])
})

test('a wrong password is named, with what to do', async () => {
  const secured = await startStage({ plugins: [], env: { OPENCODE_SERVER_PASSWORD: 'secret' } })
  const refused = managerAt(secured.server.url, {
    headers: { authorization: `Basic ${btoa('opencode:wrong')}` },
  })
  const accepted = managerAt(secured.server.url, {
    headers: { authorization: `Basic ${btoa('opencode:secret')}` },
  })
  try {
    const told = 'wrong or missing password.'
    await expect(refused.follow()).rejects.toMatchObject({
      reason: 'unauthorized',
      message: expect.stringContaining(told),
    })
    expect(refused.problems).toEqual([expect.stringContaining(told)])
    const request = { parentID: 'ses_1', agent: 'general', description: 'work', prompt: 'work' }
    await expect(refused.launch(request)).rejects.toMatchObject({
      code: 'hostFailed',
      message: expect.stringMatching(/Give the client the header authorization\.$/),
    })
    await accepted.follow()
    expect(await accepted.subagents()).toContain('general')
  } finally {
    await Promise.all([refused.dispose(), accepted.dispose()])
    await secured.close()
  }
})

describe('a process outside of OpenCode', () => {
  let process: OutsideProcess
  beforeEach(async () => {
    process = await startOutside(stage.server)
  })
  afterEach(() => process.kill())

  test('is killed and started again: it resumes the agents at work, and knows those that have ended', async () => {
    const { reply, release } = heldReply()
    const parent = await stage.parent(({ messages }) =>
      messages.at(-1)?.content === 'working' ? reply : { text: 'the quick answer' },
    )
    const ids = await process.launch(parent.id, 'working', 'quick')
    await stage.model.waitForRequest(
      ({ parentSessionID, messages }) =>
        parentSessionID === parent.id && messages.some(({ content }) => content === 'working'),
    )
    await parent.waitForNotice('the quick answer')
    await process.kill()
    process = await startOutside(stage.server)
    const recovered = await process.recover(parent.id)
    expect(recovered).toEqual([`${ids[0]} running`, `${ids[1]} completed`])
    release({ text: 'the slow answer' })
    await parent.waitForNotice('the slow answer')
    expect(await ends(parent, ...ids)).toEqual([`${ids[1]} completed`, `${ids[0]} completed`])
    // The task was prompted once.
    expect(parent.childRequests).toHaveLength(2)
  })
})
