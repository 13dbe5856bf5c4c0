import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage.close())

test('a project of a server receives no notices, list entries or ids of the others', async () => {
  const directories = ['here', 'there', 'here/deeper'].map((name) => join(stage.server.directory, name))
  for (const directory of directories) mkdirSync(directory, { recursive: true })
  const projects = await Promise.all(
    directories.map(async (directory, index) => {
      const parent = await stage.parent(
        ({ messages }) => ({ text: `result of ${messages.at(-1)?.content}` }),
        {},
        stage.server.project(directory),
      )
      const [id] = await parent.launch(`task ${index}`)
      return { parent, id: id ?? '', own: `result of task ${index}` }
    }),
  )
  await Promise.all(projects.map(({ parent, own }) => parent.waitForNotice(own)))
  for (const { parent, id, own } of projects) {
    await parent.quiet()
    const others = projects.filter((project) => project.id !== id)
    const output = (task_id: string): Parameters<Parent['call']>[0][number] => ({
      name: 'background_output',
      args: { task_id },
    })
    const [list, ...outputs] = await parent.call([
      { name: 'list_background', args: {} },
      ...others.map((project) => output(project.id)),
    ])
    expect(list).toContain(id)
    for (const [index, other] of others.entries()) {
      expect(list).not.toContain(other.id)
      expect(parent.noticeText).not.toContain(other.own)
      expect(outputs[index]).toContain(`"${other.id}" not found. Known here: ${id}.`)
    }
    expect(parent.noticeText).toContain(own)
    expect(parent.noticeTurns).toHaveLength(1)
  }
})

test('a change of the configuration ends the instance, and records its tasks as interrupted', async () => {
  const { reply } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.call(['one', 'two', 'three'].map((name) => backgroundTask(name)))
  await stage.model.waitForRequest(() => parent.childRequests.length === 3)
  const response = await fetch(
    `${stage.server.url}/config?directory=${encodeURIComponent(stage.server.directory)}`,
    {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'somebody' }),
    },
  )
  expect(response.status).toBe(200)
  const records = async (): Promise<unknown[]> => {
    const { data } = await stage.server.client.session.children({
      path: { id: parent.id },
      throwOnError: true,
    })
    return data.map((child) => (child as { metadata?: { background?: object } }).metadata?.background)
  }
  const interrupted = { status: 'failed', failure: { reason: 'interrupted' } }
  await expect.poll(records).toEqual(Array(3).fill(expect.objectContaining({ status: 'failed' })))
  expect(await records()).toMatchObject([interrupted, interrupted, interrupted])
  // The host has closed their model calls.
  await expect.poll(() => parent.childRequests.map(({ outcome }) => outcome)).toEqual(Array(3).fill('closed'))
})
