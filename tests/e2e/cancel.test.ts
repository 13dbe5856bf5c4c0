import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { concurrency: { total: 2 } } })
})
afterAll(() => stage.close())

const cancel = (args: object): { name: string; args: Record<string, unknown> } => ({
  name: 'background_cancel',
  args: { ...args },
})

/** Creates a parent whose children hang, except those whose name begins with `quick`. */
function hangingParent(): Promise<Parent> {
  return stage.parent(({ messages }) => {
    const name = messages.at(-1)?.content ?? ''
    return name.startsWith('quick') ? { text: `result of ${name}` } : new Promise(() => {})
  })
}

async function bothRunning(parent: Parent): Promise<void> {
  await stage.model.waitForRequest(() => parent.childRequests.length === 2, {
    description: 'two children at work',
  })
}

test('a cancel of a running task closes its model call, records the end, and sends no notice', async () => {
  const parent = await hangingParent()
  const [id] = await parent.launch('one')
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const [answer] = await parent.call([cancel({ taskId: id })])
  expect(answer).toMatch(new RegExp(`${id} \\(one\\) was cancelled after \\d`))
  await stage.model.waitForRequest(
    (request) => request.parentSessionID === parent.id && request.outcome === 'closed',
  )
  const [list] = await parent.call([{ name: 'list_background', args: { status: 'error' } }])
  expect(list).toContain('🛑 cancelled')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(0)
})

test('a task cancelled in the queue never prompts its session, and the next one moves up', async () => {
  const parent = await hangingParent()
  const [, , queued, next] = await parent.launchInTurn('one', 'two', 'three', 'quick')
  await bothRunning(parent)
  const [answer] = await parent.call([cancel({ task_id: queued })])
  expect(answer).toContain('was cancelled before it had started')
  const [list] = await parent.call([{ name: 'list_background', args: { status: 'running' } }])
  expect(list).toMatch(new RegExp(`${next}.*number 1 in the queue`))
  await parent.call([cancel({ all: true })])
  await parent.quiet()
  // Both children started at the same moment.
  const asked = parent.childRequests.map(({ messages }) => messages.at(-1)?.content)
  expect(new Set(asked)).toEqual(new Set(['one', 'two']))
  expect(asked).toHaveLength(2)
})

test('a cancel of all stops running and pending tasks without notices, and frees their slots', async () => {
  const parent = await hangingParent()
  await parent.launch('one', 'two', 'three', 'four')
  await bothRunning(parent)
  const [answer] = await parent.call([cancel({ all: true })])
  expect(answer?.match(/was cancelled after/g)).toHaveLength(2)
  expect(answer?.match(/was cancelled before it had started/g)).toHaveLength(2)
  await parent.launch('quick')
  await parent.waitForNotice('result of quick')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).not.toContain('cancelled')
  expect(parent.childRequests.map(({ outcome }) => outcome)).toEqual(['closed', 'closed', 'answered'])
})

test('a task cancelled at the moment of its launch is stopped', async () => {
  const parent = await hangingParent()
  const { id: parentID } = parent
  const [answer] = await parent.call([
    { name: 'background_task', args: launchArgs('one') },
    cancel({ all: true }),
  ])
  expect(answer).toContain('task_id')
  // Both calls ran at once, so the cancel may have preceded the launch.
  const [rest] = await parent.call([cancel({ all: true })])
  expect(rest).toBeDefined()
  await parent.quiet()
  const { data } = await stage.server.client.session.children({ path: { id: parentID }, throwOnError: true })
  expect(data).toMatchObject([{ metadata: { background: { status: 'cancelled', by: 'parent' } } }])
  expect(parent.noticeTurns).toHaveLength(0)
})

test('a cancel leaves an ended task unchanged', async () => {
  const parent = await hangingParent()
  const [id] = await parent.launch('quick')
  await parent.waitForNotice('result of quick')
  const [one, all] = await parent.call([cancel({ task_id: id }), cancel({ all: true })])
  expect(one).toBe(`${id} had ended already (completed). Nothing was changed.`)
  expect(all).toBe('There was nothing to stop.')
})

function launchArgs(name: string): Record<string, unknown> {
  return { description: name, prompt: name, agent: 'general' }
}
