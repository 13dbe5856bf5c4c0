/** Reported problems of setting the plugin up, by report number, on the real OpenCode. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventStream } from '../harness/event-stream.ts'
import { skipPluginInstall } from '../harness/home.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { heldReply, never } from '../harness/replies.ts'
import { startRun, type Run } from '../harness/run.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import type { ModelRequest, Reply, ToolCall } from '../harness/script.ts'
import { startOpencode, type OpencodeServer, type Project } from '../harness/server.ts'
import { backgroundTask, obey, startStage, type Stage } from '../harness/stage.ts'

/** A tool with the name of one of ours, as in oh-my-opencode. */
const TOOL = `{ description: 'Theirs.', args: {}, execute: async () => 'from theirs' }`
const PLUGIN = `export default { id: 'other', server: async () => ({ tool: { background_output: ${TOOL} } }) }`
const SERVER = `
import { createInterface } from 'node:readline'
const results = {
  initialize: (params) => ({ protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'other', version: '1' } }),
  'tools/list': () => ({ tools: [{ name: 'output', description: 'Theirs.', inputSchema: { type: 'object', properties: {} } }] }),
  'tools/call': () => ({ content: [{ type: 'text', text: 'from theirs' }] }),
}
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  const result = results[method]?.(params)
  if (result) process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n')
})
`
const OUTPUT = { name: 'background_output', args: { task_id: 'bg_00000000' } }
const LIST = { name: 'list_background', args: {} }

let stage: Stage
let other: string

beforeAll(async () => {
  stage = await startStage()
  other = written('other.js', PLUGIN)
})
afterAll(() => stage.close())

function written(name: string, text: string): string {
  const path = join(stage.server.home, name)
  writeFileSync(path, text)
  return path
}

interface Told {
  readonly answers: readonly string[]
  readonly toasts: readonly string[]
}

/** Makes each call in its own turn of a session, and collects the toasts meanwhile. */
async function callIn(on: Stage, project: Project, calls: readonly ToolCall[]): Promise<Told> {
  const events = await project.subscribe()
  try {
    const parent = await on.parent(undefined, {}, project)
    const answers: string[] = []
    for (const call of calls) {
      answers.push(...(await parent.call([call])))
      await on.pass(10_000)
    }
    await parent.quiet()
    return { answers, toasts: toastsOf(events) }
  } finally {
    events.close()
  }
}

function toastsOf({ all }: EventStream): string[] {
  return all.flatMap(({ type, properties }) => (type === 'tui.toast.show' ? [properties.message] : []))
}

test('R13: a later plugin replaces a tool of ours; toast, list and log report it once', async () => {
  const project = stage.project({ config: { plugin: [other] } })
  const { answers, toasts } = await callIn(stage, project, [OUTPUT, LIST, OUTPUT])
  const problem =
    'tool background_output: another plugin or a tool file defines it too, and OpenCode uses that one; ' +
    'the option toolPrefix renames ours'
  expect(answers[0]).toBe('from theirs')
  expect(toasts).toEqual([problem])
  expect(answers[1]).toContain(`⚠️ ${problem}`)
  expect((await stage.server.log()).split(problem)).toHaveLength(2)
})

test('R13: our tool replaces that of a tool file or an earlier plugin, and toast and list report it', async () => {
  const project = stage.project()
  const config = join(project.directory, '.opencode')
  mkdirSync(join(config, 'tool'), { recursive: true })
  skipPluginInstall(config)
  writeFileSync(join(config, 'tool', 'background_output.js'), `export default ${TOOL}`)
  const file = await callIn(stage, project, [OUTPUT, LIST])
  const earlier = await startStage({ before: [other] })
  try {
    for (const { answers, toasts } of [file, await callIn(earlier, earlier.server, [OUTPUT, LIST])]) {
      expect(answers[0]).toContain('not found')
      expect(toasts).toEqual([expect.stringContaining('and OpenCode uses ours;')])
      expect(answers[1]).toContain('⚠️ tool background_output: another plugin or a tool file defines it too')
    }
  } finally {
    await earlier.close()
  }
})

test('R13: a toast and the list report an MCP tool with the name of ours once it has answered', async () => {
  const command = [process.execPath, written('server.mjs', SERVER)]
  const project = stage.project({ config: { mcp: { background: { type: 'local', command } } } })
  const { answers, toasts } = await callIn(stage, project, [LIST, OUTPUT, LIST])
  expect(answers[0]).not.toContain('⚠️')
  expect(answers[1]).toBe('from theirs')
  expect(toasts).toEqual([
    expect.stringContaining('tool background_output: another tool of that name answered'),
  ])
  expect(answers[2]).toContain('⚠️ tool background_output: another tool of that name answered a call')
})

test('R13: with a prefix, all texts name our tools by it, and children have none of them', async () => {
  const options = { toolPrefix: 'bg_', concurrency: { total: 1 }, maxTasksPerSession: 2 }
  const project = stage.project({ options })
  const config = join(project.directory, '.opencode')
  mkdirSync(join(config, 'plugin'), { recursive: true })
  skipPluginInstall(config)
  writeFileSync(join(config, 'plugin', 'other.js'), PLUGIN)
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply, {}, project)
  const ours = (name: string, args: object): ToolCall => ({ name: `bg_${name}`, args: { ...args } })
  const start = (description: string): ToolCall => ({
    ...backgroundTask(description),
    name: 'bg_background_task',
  })

  const answers: string[] = [...(await parent.call([start('one'), start('two')]))]
  const [id = ''] = answers.map((answer) => /bg_[0-9a-f]{8}/.exec(answer)?.[0])
  const command = { command: 'sleep 600 & echo up', label: 'server' }
  answers.push(
    ...(await parent.call([
      OUTPUT,
      start('too many'),
      ours('run_background', command),
      ours('list_background', {}),
    ])),
  )
  const taskID = /bg_[0-9a-f]{8}/.exec(answers[4] ?? '')?.[0]
  await parent.waitForNotice('It has left processes running: bg_kill_background')
  answers.push(
    ...(await parent.call([
      ours('check_background', { taskID }),
      ours('background_task', { task_id: taskID, prompt: 'more' }),
      ours('kill_background', { taskID }),
    ])),
  )
  release({ text: 'x'.repeat(60_000) })
  await parent.waitForNotice('<result>')
  await parent.quiet()
  answers.push(...(await parent.call([ours('background_output', { task_id: id })])))

  expect(answers.join('\n')).toContain('from theirs')
  expect(answers.join('\n')).not.toContain('unavailable')
  expect(parent.noticeText).toContain('More: bg_background_output.')
  expect(answers.join('\n')).not.toContain('⚠️ tool')
  const read = [...parent.requests, ...parent.childRequests].flatMap(({ messages }) => messages)
  const texts = [...answers, ...read.filter(({ role }) => role === 'user').map(({ content }) => content)]
  const spelled = /(?<![\w</])(?:background_(?:task|output|cancel)|(?:list|run|check|kill)_background)/
  expect(texts.filter((text) => spelled.test(text.replace(/^CALL [^]*? END/, '')))).toEqual([])
  expect(parent.requests[0]?.tools.filter((name) => name.includes('background')).toSorted()).toEqual([
    'background_output',
    'bg_background_apply',
    'bg_background_cancel',
    'bg_background_output',
    'bg_background_task',
    'bg_check_background',
    'bg_kill_background',
    'bg_list_background',
    'bg_run_background',
  ])
  expect(parent.childRequests[0]?.tools.filter((name) => name.includes('background'))).toEqual([
    'background_output',
  ])
})

test('a plugin that is loaded twice reports that once, and each end once', async () => {
  const project = stage.project({ config: { plugin: [await buildPlugin()] } })
  const events = await project.subscribe()
  const parent = await stage.parent(undefined, {}, project)
  await parent.launch('errand')
  // The copy that OpenCode uses is the shipped one, whose time the stage does not move.
  await parent.waitForNotice('errand')
  const [list] = await parent.call([LIST])
  await parent.quiet()
  events.close()
  const problem = 'opencode-background is loaded twice: leave one entry of it under `plugin` in opencode.json'
  expect(toastsOf(events)).toEqual([problem])
  expect(parent.noticeTurns).toHaveLength(1)
  expect(list).toContain('(1 total)')
  expect(list).toContain(`⚠️ ${problem}`)
  expect((await stage.server.log()).split(problem)).toHaveLength(2)
})

const ERRAND = `CALL ${JSON.stringify([backgroundTask('errand')])} END`

/** Answers a parent with the notices that it has read, and its children after a delay. */
async function slowly(request: ModelRequest): Promise<Reply> {
  if (request.parentSessionID !== undefined) {
    await sleep(2000)
    return { text: 'done with the errand' }
  }
  const [, result] = /<result>(.*?)<\/result>/.exec(request.messages.at(-1)?.content ?? '') ?? []
  return result === undefined ? obey(request) : { text: `I have read: ${result}.` }
}

describe('R17', () => {
  const settings = { config: { snapshot: false } }
  let model: ScriptedModel
  let server: OpencodeServer

  beforeAll(async () => {
    model = await startModel(slowly)
    server = await startOpencode({ model, plugins: [await buildPlugin()], ...settings })
  })
  afterAll(async () => {
    await server.stop()
    await model.close()
  })

  const attached = (): Promise<Run> =>
    startRun(ERRAND, { model, ...settings }, ['run', '--attach', server.url, '--dir', server.directory])

  test('R17: `opencode run` waits, whatever options precede it', async () => {
    const options = { model, plugins: [await buildPlugin()], ...settings }
    const run = await startRun(ERRAND, options, ['--port', '0', '--agent', 'build', '-m', 'mock/m1', 'run'])
    const { output, code } = await run.ended
    expect(output).toContain('I have read: done with the errand.')
    expect(code).toBe(0)
  })

  test('R17: `opencode run --attach` waits, held by the server that has its session', async () => {
    const before = model.requests.length
    const { code } = await (await attached()).ended
    // Its output proves little, because it often omits the last text, also without any plugin (seen).
    const read = model.requests
      .slice(before)
      .flatMap(({ messages }) => messages.map(({ content }) => content))
    expect(read.join('\n')).toContain('<result>done with the errand</result>')
    expect(code).toBe(0)
  })

  test('R17: an interrupt ends a session at once that a server holds', async () => {
    model.script = (request) => (request.parentSessionID === undefined ? obey(request) : never())
    const from = server.events.all.length
    const run = await attached()
    const delta = await server.events.waitFor(
      ({ type, properties }) => type === 'message.part.delta' && properties.delta.includes('ed.'),
      { from },
    )
    const { sessionID: id } = delta.properties as { sessionID: string }
    expect(await Promise.race([run.ended, sleep(1500, 'held')])).toBe('held')
    await server.client.session.abort({ path: { id }, throwOnError: true })
    await run.ended
    const { data } = await server.client.session.status({ throwOnError: true })
    expect(Object.keys(data)).not.toContain(id)
  })
})
