import { afterAll, beforeAll, expect, test } from 'vitest'
import { inOrder, READ } from '../harness/replies.ts'
import type { Script } from '../harness/script.ts'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { notify: { inlineResultBytes: 100 } } })
})
afterAll(() => stage.close())

const output = (args: object): { name: string; args: Record<string, unknown> } => ({
  name: 'background_output',
  args: { ...args },
})

/** Scripts a child that calls a tool, and then answers when it is released. */
function heldChild(text: string): { script: Script; release: () => void } {
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const script: Script = async ({ messages }) => {
    if (messages.at(-1)?.role !== 'tool') return { tools: [{ name: 'glob', args: { pattern: '*.md' } }] }
    await held
    return { text }
  }
  return { script, release: () => release() }
}

test('background_output shows the activity and usage of a running task', async () => {
  const child = heldChild('done')
  const parent = await stage.parent(child.script)
  const [id] = await parent.launch('list the documents')
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  const [answer] = await parent.call([output({ task_id: id })])
  expect(answer).toContain('status: running')
  expect(answer).toMatch(/elapsed: \d+\.\ds/)
  expect(answer).toMatch(/last activity: glob.*, \d+\.\ds ago/)
  expect(answer).toContain('tool calls: 1, tokens: 15,')
  child.release()
  await parent.waitForNotice('done')
})

test('the story of a task has its steps with times, from its slot to the confirmed notice', async () => {
  const parent = await stage.parent(inOrder(READ, { text: 'it is purple' }))
  const [id] = await parent.launch('read the readme')
  await parent.waitForNotice('it is purple')
  await parent.quiet()
  const [story = ''] = await parent.call([output({ task_id: id, story: true })])
  const steps = story.split('\n').flatMap((line) => /^ {2}\+\d+\.\ds {2}(.*)$/.exec(line)?.[1] ?? [])
  expect(steps).toEqual([
    'queued',
    'starting',
    'running',
    'the model answers',
    'tool read: running',
    'tool read: completed',
    'completed',
    'notice owed',
    'notice sent',
    "notice confirmed: the parent's model has read it",
    'now',
  ])
  expect(story).not.toContain('it is purple')
})

test('background_output returns the whole of a result that its notice has cut', async () => {
  const text = `begin ${'x'.repeat(3000)} end`
  const parent = await stage.parent(() => ({ text }))
  const [id] = await parent.launch('write much')
  await parent.waitForNotice('bytes left out')
  expect(parent.noticeText).not.toContain(text)
  const [answer] = await parent.call([output({ task_id: id })])
  expect(answer).toContain(`status: completed`)
  expect(answer).toContain(text)
})

test('block waits for the end and returns the result, and no notice follows', async () => {
  const child = heldChild('worth the wait')
  const parent = await stage.parent(child.script)
  const [id] = await parent.launch('take your time')
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  const { result } = await parent.begin(output({ task_id: id, block: true }))
  child.release()
  expect(await result()).toContain('worth the wait')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(0)
})

test('block ends with the status at its timeout, and the notice follows later', async () => {
  const child = heldChild('too late')
  const parent = await stage.parent(child.script)
  const [id] = await parent.launch('take your time')
  const [answer] = await parent.call([output({ task_id: id, block: true, timeout: 1000 })])
  expect(answer).toContain('status: running')
  child.release()
  await parent.waitForNotice('too late')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('block ends at once when the caller is interrupted', async () => {
  const child = heldChild('unheard')
  const parent = await stage.parent(child.script)
  const [id] = await parent.launch('take your time')
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  await parent.begin(output({ task_id: id, block: true, timeout: 600_000 }))
  await stage.server.client.session.abort({ path: { id: parent.id } })
  const stored = await stage.server.waitForIdle(parent.id)
  expect(stored.at(-1)?.info).toMatchObject({ error: { name: 'MessageAbortedError' } })
  child.release()
})

test('background_output shows the reason and the partial text of a failed task', async () => {
  const parent = await stage.parent(() => ({ status: 401, text: 'no such key' }))
  const [id] = await parent.launch('fail')
  await parent.waitForNotice('no such key')
  const [answer] = await parent.call([output({ task_id: id, block: true })])
  expect(answer).toContain('status: failed')
  expect(answer).toContain('reason: error')
  expect(answer).toContain('error: no such key')
  expect(answer).toContain('It wrote no text.')
})

test('background_output shows all or part of the transcript, with thinking and tool outputs on request', async () => {
  const parent = await stage.parent(
    inOrder({ ...READ, reasoning: 'where could it be' }, { text: 'found it' }, { text: 'and again' }),
  )
  const [id] = await parent.launch('look for it')
  await parent.waitForNotice('found it')
  await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'once more' } }])
  await parent.waitForNotice('and again')
  const [plain, last, full, result] = await parent.call([
    output({ task_id: id, full_session: true }),
    output({ task_id: id, message_limit: 2 }),
    output({ task_id: id, full_session: true, include_thinking: true, include_tool_results: true }),
    output({ task_id: id }),
  ])
  expect(plain).toMatch(
    /── prompt ──\nlook for it\n\n── agent ──\n\[tool read .*: completed\]\n\n── agent ──\nfound it\n\n── prompt ──\nonce more\n\n── agent ──\nand again$/,
  )
  expect(last).toMatch(/\[… earlier messages …\]\n\n── prompt ──\nonce more\n\n── agent ──\nand again$/)
  expect(full).toContain('[thinking] where could it be')
  expect(full).toContain('1: # A project')
  expect(plain).not.toContain('1: # A project')
  expect(result).toMatch(/result:\nand again$/)
})

test("a long transcript is cut below the host's limit, and says how to read the rest", async () => {
  const parent = await stage.parent(() => ({ text: `begin\n${'line\n'.repeat(3000)}end` }))
  const [id] = await parent.launch('write lines')
  await parent.waitForNotice('begin')
  const [result, transcript] = await parent.call([
    output({ task_id: id }),
    output({ task_id: id, full_session: true }),
  ])
  for (const text of [result, transcript]) {
    expect(text?.split('\n').length).toBeLessThan(2000)
    expect(text).toContain('begin')
    expect(text).toMatch(/\nend$/)
    expect(text).not.toContain('The tool call succeeded but the output was truncated')
  }
  for (const text of [result, transcript])
    expect(text).toMatch(/\[… \d+ bytes left out; offset: \d+ shows what comes here …\]/)
})
