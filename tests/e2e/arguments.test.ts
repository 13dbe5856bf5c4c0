/** How the tools interpret a model's arguments (docs/arguments.md). */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { never } from '../harness/replies.ts'
import type { ToolCall } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { 'concurrency.total': 4, ['k'.repeat(30_000)]: 1 } })
})
afterAll(() => stage.close())

const call = (name: string, args: object): ToolCall => ({ name, args: { ...args } })

async function statuses(parent: Parent): Promise<string[]> {
  const [list = ''] = await parent.call([call('list_background', {})])
  return [...list.matchAll(/^\| `bg_\w+` \| (?:\S+) (\w+)/gm)].flatMap(([, status]) => status ?? [])
}

test('a call with two values for one argument is refused, and the answer names both spellings', async () => {
  const parent = await stage.parent(never)
  const [a, b] = await parent.launch('one', 'two')
  const answers = await parent.call([
    call('background_cancel', { task_id: a, id: b }),
    call('background_cancel', { task_id: [a, b] }),
    call('background_cancel', { task_id: 'all', all: false }),
    call('background_output', { taskId: a, task_id: b }),
  ])
  expect(answers[0]).toContain(
    'task_id and id are one argument, and have two values: give task_id alone. Nothing',
  )
  expect(answers[1]).toContain('task_id: must be one value, not a list: make a call for each.')
  expect(answers[2]).toContain('Give task_id, or all: true.')
  expect(answers[3]).toContain('taskId and task_id are one argument')
  expect(await statuses(parent)).toEqual(['running', 'running'])

  const [one, all] = await parent.call([
    call('background_cancel', { task_id: [a], id: a }),
    call('background_cancel', { task_id: 'All' }),
  ])
  expect(one).toContain(`${a} (one) was cancelled`)
  expect(all).toContain(`${b} (two) was cancelled`)
})

test('a launch accepts arguments with only one possible meaning', async () => {
  const parent = await stage.parent(never)
  const launch = { prompt: 'x', agent: 'general' }
  const answers = await parent.call([
    call('background_task', { ...launch, task: 'Write the tests' }),
    call('background_task', { ...launch, task_id: 'null', model: 'None' }),
    call('background_task', { ...launch, run_in_background: true, prompt: 'y' }),
    call('background_task', { ...launch, constructor: 'y' }),
    call('background_task', { ...launch, run_in_background: false }),
    call('run_background', { command: 'sleep 2419', notify_on: ['', 3000] }),
    call('run_background', { command: ['sleep', '2419'] }),
  ])
  expect(answers[0]).toContain('description: Write the tests')
  expect(answers[1]).toContain('status: running')
  expect(answers[2]).toContain('status: running')
  expect(answers[3]).toContain('constructor: there is no such argument')
  expect(answers[4]).toContain('run_in_background: there is no such argument')
  expect(answers[5]).toContain('Background Task Started')
  expect(answers[6]).toContain('command: must be one value, not a list.')
  expect(await statuses(parent)).toEqual(Array.from({ length: 4 }, () => 'running'))
  await parent.call([call('background_cancel', { all: true })])
})

test('background_output accepts 0, and refuses a timeout below a second', async () => {
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content.includes('quick') ? { text: 'the result' } : never(),
  )
  const [slow, quick] = await parent.launch('slow', 'quick')
  await parent.waitForNotice('the result')
  const answers = await parent.call([
    call('background_output', { task_id: slow, block: true, timeout: 60 }),
    call('background_output', { task_id: slow, block: true, timeout: 0 }),
    call('background_output', { task_id: quick, message_limit: 0 }),
    call('background_output', { task_id: quick, message_limit: 0, full_session: true }),
  ])
  expect(answers[0]).toContain('timeout: must be 0 or at least 1000: it is in milliseconds.')
  expect(answers[1]).toContain('status: running')
  expect(answers[2]).toMatch(/result:\nthe result$/)
  expect(answers[3]).toMatch(/\n\[… earlier messages …\]$/)
  await parent.call([call('background_cancel', { all: true })])
})

test('check_background shows the tail, a page, or no lines of output, and refuses both at once', async () => {
  const parent = await stage.parent()
  const [started = ''] = await parent.call([call('run_background', { command: 'seq 1 5' })])
  const [id] = /bg_\w{8}/.exec(started) ?? []
  await parent.waitForNotice(`${id}`)
  const [none, both, page] = await parent.call([
    call('check_background', { task_id: id, tail_lines: 0 }),
    call('check_background', { task_id: id, tail_lines: 3, offset: 0 }),
    call('check_background', { task_id: id, tail_lines: 0, offset: 8 }),
  ])
  expect(none).toContain('DONE')
  expect(none).toContain('Its output has 10 bytes.')
  expect(both).toContain('Give either tail_lines or offset, not both')
  expect(page).toMatch(/from offset 8:\n```\n5\n```/)
})

test('a refusal shortens a long text of the call, and still says what to do', async () => {
  const parent = await stage.parent()
  const long = 'x'.repeat(30_000)
  const answers = await parent.call([
    call('background_output', { task_id: long }),
    call('background_task', { prompt: 'x', agent: `${long}y`.replaceAll('xx', 'x ') }),
    call('background_task', { prompt: 'x', agent: 'general', model: long }),
    call('run_background', { command: 'true', cwd: `/${long}` }),
    call('list_background', { [long]: 1 }),
  ])
  for (const answer of answers) expect(answer.length).toBeLessThan(2500)
  expect(answers[0]).toContain('None is known here.')
  expect(answers[1]).toContain('Available: ')
  expect(answers[2]).toContain('Use the form provider/model.')
  expect(answers[3]).toContain('Nothing was started.')
})

test('a warning shows how to write an option given as group.name, and shortens a long name', async () => {
  const parent = await stage.parent()
  const [list = ''] = await parent.call([call('list_background', {})])
  expect(list).toContain('did you mean "concurrency": { "total": … }?')
  expect(list).toMatch(/⚠️ option k{59}…: there is no such option/)
  expect(list.length).toBeLessThan(1000)
})
