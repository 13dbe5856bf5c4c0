import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ToolCall } from '../harness/script.ts'
import { backgroundTask, obey, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage
let parent: Parent

beforeAll(async () => {
  stage = await startStage({ options: { maxTasksPerSession: 2, colour: 'blue', pollMs: 'often' } })
  parent = await stage.parent()
})
afterAll(() => stage.close())

async function refusal(call: ToolCall): Promise<string> {
  const [answer] = await parent.call([call])
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  expect(data, 'nothing was created').toEqual([])
  expect(answer, 'no stack trace').not.toMatch(/\n\s+at /)
  return answer ?? ''
}

test('a launch with an unknown agent is refused with the names of the available ones', async () => {
  const answer = await refusal(backgroundTask('x', { agent: 'nobody' }))
  expect(answer).toMatch(/There is no agent "nobody"\. Available: .*explore.*general|general.*explore/)
})

test('a launch with a primary agent is refused as such', async () => {
  const answer = await refusal(backgroundTask('x', { agent: 'build' }))
  expect(answer).toContain('Agent "build" cannot be used as a sub-agent. Available: ')
})

test('a refusal names an empty prompt, a missing agent, and arguments of the wrong type', async () => {
  expect(await refusal(backgroundTask('x', { prompt: '  ' }))).toContain('prompt: must not be empty')
  const bad = await refusal({ name: 'background_task', args: { prompt: {}, agent: {} } })
  expect(bad).toContain('agent: ')
  expect(bad).toContain('prompt: ')
  const nameless = { prompt: 'x', description: 'x' }
  expect(await refusal({ name: 'background_task', args: nameless })).toContain('agent: a new task needs it')
  expect(await refusal({ name: 'background_output', args: { task_id: 'bg_1', timeout: -1 } })).toContain(
    'timeout: ',
  )
  expect(await refusal({ name: 'list_background', args: { status: 'lost' } })).toContain('status: ')
})

test('R5: an empty task_id without an agent, and a cancel of one and of all, are refused as ambiguous', async () => {
  const args = { task_id: '', prompt: 'x', description: 'x' }
  expect(await refusal({ name: 'background_task', args })).toContain('agent: a new task needs it')
  const both = await refusal({ name: 'background_cancel', args: { task_id: 'bg_1', all: 'true' } })
  expect(both).toContain('not both')
})

test('R21: an unknown argument refuses a launch, and is a warning where a tool only reads', async () => {
  const call = (name: string, args: object): ToolCall => ({ name, args: { ...args } })
  const launch = { prompt: 'x', agent: 'general', spending: 5, depends_on: ['bg_1'] }
  const answer = await refusal(call('background_task', launch))
  expect(answer).toContain('spending: there is no such argument; it has ')
  expect(answer).toContain('Nothing was done.')
  expect(await refusal(call('run_background', { command: 'true', timout: 5 }))).toContain(
    'timout: there is no such argument; did you mean timeout?',
  )
  const [list] = await parent.call([call('list_background', { stauts: 'all', nothing: null })])
  expect(list).toContain('(0 total)')
  expect(list).toContain('⚠️ stauts: there is no such argument; did you mean status?')
  expect(list).not.toContain('nothing:')
})

test('a refusal of an unknown id lists the known ids', async () => {
  for (const name of ['background_output', 'background_cancel']) {
    const answer = await refusal({ name, args: { task_id: 'bg_00000000' } })
    expect(answer).toContain('Task "bg_00000000" not found. None is known here.')
  }
})

test('a cancel without a task is refused', async () => {
  expect(await refusal({ name: 'background_cancel', args: {} })).toContain('task_id, or all: true')
  const both = await refusal({ name: 'background_cancel', args: { task_id: 'bg_1', all: true } })
  expect(both).toContain('not both')
})

test('list_background names invalid options, and the plugin works without them', async () => {
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('option pollMs: ')
  expect(list).toMatch(/option .*colour/)
})

test('a toast shows invalid options once, at the first message, and the log has them', async () => {
  const toasts = (): string[] =>
    stage.server.events.all.flatMap((event) =>
      event.type === 'tui.toast.show' ? [event.properties.message] : [],
    )
  expect(toasts()).toEqual([expect.stringMatching(/option pollMs: .*\n*.*colour/) as string])
  expect(await stage.server.log()).toContain('opencode-background: option pollMs: ')
})

test('a subagent cannot launch, even if it has the tool', async () => {
  const grandparent = await stage.parent(obey)
  const child = await stage.server.createSession({ parentID: grandparent.id })
  await stage.server.prompt(child.id, `CALL ${JSON.stringify([backgroundTask('deeper')])} END`)
  const stored = await stage.server.waitForIdle(child.id)
  const states = stored.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === 'tool' ? [part.state] : [])),
  )
  const error = expect.stringContaining('A sub-agent cannot start background tasks.') as string
  expect(states).toMatchObject([{ status: 'error', error }])
  const { data } = await stage.server.client.session.children({ path: { id: child.id }, throwOnError: true })
  expect(data).toEqual([])
})

test('permission rules that deny an agent as a task refuse its launch', async () => {
  // The host's own agent `plan` may not use `general`.
  const planner = await stage.parent()
  const [answer] = await planner.call([backgroundTask('change it')], { agent: 'plan' })
  expect(answer).toContain('prevents you from using this')
  const { data } = await stage.server.client.session.children({
    path: { id: planner.id },
    throwOnError: true,
  })
  expect(data).toEqual([])
})

test('a launch beyond the limit of unfinished tasks is refused, also of several at once', async () => {
  const crowded = await stage.parent(() => new Promise(() => {}))
  const answers = await crowded.call(['a', 'b', 'c', 'd'].map((name) => backgroundTask(name)))
  expect(answers.filter((answer) => answer.startsWith('task_id: '))).toHaveLength(2)
  expect(answers.filter((answer) => answer.includes('2 unfinished tasks, which is its limit'))).toHaveLength(
    2,
  )
  const [again] = await crowded.call([backgroundTask('e')])
  const known = answers.flatMap((answer) => /^task_id: (bg_\w+)/.exec(answer)?.[1] ?? [])
  for (const id of known) expect(again).toContain(id)
  await crowded.call([{ name: 'background_cancel', args: { all: true } }])
})
