import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { debug: true }, config: { snapshot: true } })
})
afterAll(() => stage.close())

test("a child's result reaches its parent's model once, in one turn", async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const [id] = await parent.launch('find the answer')
  await parent.quietBesidesChildren()
  release({ text: 'The answer is 42.' })
  await parent.waitForNotice('The answer is 42.')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText.match(/The answer is 42\./g)).toHaveLength(1)
  expect(parent.noticeText).toContain(
    `<background_task id="${id}" run="1" agent="general" status="completed"`,
  )
  expect(parent.noticeText).toMatch(/\[Automatic notice, not from the user\. .*\]$/)
})

test('a launch returns before its child answers, and the child reads only its prompt', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('a long errand')
  expect(parent.noticeTurns).toHaveLength(0)
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  expect(parent.childRequests[0]?.messages.filter(({ role }) => role !== 'system')).toEqual([
    { role: 'user', content: 'a long errand' },
  ])
  release({ text: 'late' })
  await parent.waitForNotice('late')
})

test('a child has no tools that start or await other work', async () => {
  const parent = await stage.parent()
  await parent.launch('look at your tools')
  await parent.waitForNotice('done')
  expect(parent.requests[0]?.tools).toContain('background_task')
  const tools = parent.childRequests[0]?.tools ?? []
  expect(tools).toContain('read')
  for (const name of [
    'background_task',
    'background_output',
    'background_cancel',
    'list_background',
    'task',
    'question',
  ]) {
    expect(tools).not.toContain(name)
  }
})

test("every argument and its description reach the model's list of tools", async () => {
  const parent = await stage.parent()
  await parent.call([{ name: 'list_background', args: {} }])
  const definitions = new Map(
    (parent.requests[0]?.raw.tools ?? []).map((tool) => [
      tool.function.name,
      (tool.function.parameters as { properties: Record<string, { description?: string }> }).properties,
    ]),
  )
  const argumentsOf = {
    background_task: ['description', 'prompt', 'agent', 'task_id', 'model', 'worktree', 'budget', 'after'],
    background_output: [
      'task_id',
      'block',
      'timeout',
      'full_session',
      'message_limit',
      'include_thinking',
      'include_tool_results',
      'offset',
      'story',
    ],
    background_cancel: ['task_id', 'all'],
    background_apply: ['task_id', 'check'],
    list_background: ['status'],
    run_background: ['command', 'cwd', 'timeout', 'label', 'notify_on', 'notify_every', 'open_stdin'],
    check_background: ['task_id', 'tail_lines', 'offset', 'stream'],
    kill_background: ['task_id'],
  }
  for (const [tool, names] of Object.entries(argumentsOf)) {
    const properties = definitions.get(tool) ?? {}
    expect(Object.keys(properties)).toEqual(names)
    for (const name of names) expect(properties[name]?.description).toMatch(/\w{3}/)
  }
})

test.each([
  { chosen: { agent: 'plan', model: 'm3', variant: 'high' }, effort: 'high' },
  { chosen: { agent: 'build', model: 'm2' }, effort: undefined },
])(
  'the parent retains its agent, model and variant ($chosen.variant), and its child has them too',
  async ({ chosen, effort }) => {
    const parent = await stage.parent()
    await parent.call([backgroundTask('look around', { agent: 'explore' })], chosen)
    await parent.waitForNotice('done')
    const stored = await stage.server.waitForIdle(parent.id)
    const users = stored.flatMap(({ info }) =>
      info.role === 'user' ? [{ agent: info.agent, model: info.model }] : [],
    )
    const { agent, model, ...variant } = chosen
    const same = { agent, model: { providerID: 'mock', modelID: model, ...variant } }
    expect(users).toEqual([same, same])
    expect(parent.noticeTurns[0]?.raw['reasoning_effort']).toBe(effort)
    expect(parent.childRequests[0]?.model).toBe(model)
  },
)

test('the record of a task is in its child session from its creation on', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const [id] = await parent.launch('leave a trace')
  const record = { version: 1, id, kind: 'agent', run: 1, agent: 'general' }
  const children = async (): Promise<unknown> => {
    const { data } = await stage.server.client.session.children({
      path: { id: parent.id },
      throwOnError: true,
    })
    return data
  }
  expect(await children()).toMatchObject([
    {
      parentID: parent.id,
      title: 'leave a trace (@general subagent)',
      metadata: { background: { ...record, status: 'pending', prompt: 'leave a trace' } },
    },
  ])
  release({ text: 'traced' })
  await parent.waitForNotice('traced')
  await parent.quiet()
  expect(await children()).toMatchObject([
    { metadata: { background: { ...record, status: 'completed', prompt: '' } } },
  ])
})

test("with the option debug, OpenCode's log has each step of a task", async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('leave a trail')
  await parent.waitForNotice('done')
  for (const step of ['starting', 'running', 'completed']) {
    const line = new RegExp(`opencode-background: \\[BG-DEBUG [0-9:.]{12}\\] ${id}: ${step}`)
    expect(await stage.server.log()).toMatch(line)
  }
})

test('the definitions of our tools are short and constant, and name the subagents', async () => {
  const parent = await stage.parent()
  await parent.call([{ name: 'list_background', args: {} }])
  const definitions = parent.requests.map(({ raw }) =>
    (raw.tools ?? []).filter(({ function: { name } }) => /^background_|_background$/.test(name)),
  )
  expect(definitions[0]).toHaveLength(8)
  expect(definitions[1]).toEqual(definitions[0])
  const share = definitions[0]?.map((tool) => JSON.stringify(tool.function).length) ?? []
  expect(share.reduce((sum, length) => sum + length, 0)).toBeLessThan(4800)
  for (const { messages } of parent.requests) {
    const system = messages.flatMap(({ role, content }) => (role === 'system' ? [content] : []))
    expect(system).not.toEqual([])
    expect(system.join('\n')).not.toMatch(/background/i)
  }
  for (const { function: tool } of definitions[0] ?? []) {
    expect(tool.description?.length).toBeLessThanOrEqual(tool.name === 'background_task' ? 500 : 300)
  }
  expect(JSON.stringify(definitions[0])).toContain("The sub-agent's name: explore, general")
})
