/** Twenty more inputs from real life, from public reports of 2026, on the real OpenCode. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply, inOrder, never, READ } from '../harness/replies.ts'
import type { ToolCall } from '../harness/script.ts'
import { skipPluginInstall } from '../harness/home.ts'
import { runningIn } from '../harness/processes.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

let stage: Stage

/** An MCP server with one tool, as a script for `node -e`. */
const MCP_SERVER = `
const answer = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n')
const results = {
  initialize: ({ protocolVersion }) =>
    ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'far', version: '1' } }),
  'tools/list': () => ({ tools: [{ name: 'ping', description: 'Ping.', inputSchema: { type: 'object' } }] }),
  'tools/call': () => ({ content: [{ type: 'text', text: 'pong' }] }),
}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id !== undefined) answer(id, results[method]?.(params) ?? {})
})`

/** A plugin that deletes child sessions that are idle, also ours. */
const DELETING_PLUGIN = `export default {
  id: 'deleting',
  server: async ({ client }) => ({
    event: async ({ event }) => {
      if (event.type !== 'session.idle') return
      const path = { id: event.properties.sessionID }
      const { data } = await client.session.get({ path })
      if (data?.parentID) await client.session.delete({ path })
    },
  }),
}`

beforeAll(async () => {
  stage = await startStage({
    options: { pollMs: 1000 },
    config: {
      experimental: { primary_tools: ['webfetch'] },
      mcp: { far: { type: 'local', command: [process.execPath, '-e', MCP_SERVER] } },
      permission: { external_directory: 'ask' },
    },
    agents: {
      '\u200BHelper - Of Many': { mode: 'subagent', description: 'Has a name that begins unseen.' },
      brief: { mode: 'subagent', description: 'Takes two steps.', steps: 2 },
    },
  })
})
afterAll(() => stage.close())

const call = (name: string, args: object): ToolCall => ({ name, args: { ...args } })

async function start(parent: Parent, command: string, args: object = {}): Promise<string> {
  const [answer = ''] = await parent.call([call('run_background', { command, ...args })])
  return /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
}

async function childrenOf(parent: Parent): Promise<string[]> {
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  return data.map(({ id }) => id)
}

test('an agent that has used up its steps is reported as incomplete', async () => {
  const isLast = (content = ''): boolean => content.includes('MAXIMUM STEPS REACHED')
  const parent = await stage.parent(({ messages }) =>
    isLast(messages.at(-1)?.content) ? { text: 'I got half of it.' } : READ,
  )
  await parent.call([backgroundTask('read all', { agent: 'brief' })])
  await parent.waitForNotice("It stopped because it had used up its agent's steps.")
  expect(parent.noticeText).toContain('<partial>I got half of it.</partial>')
})

test('a child has none of the tools that the user reserves for primary agents', async () => {
  const parent = await stage.parent()
  await parent.launch('look')
  await parent.waitForNotice('done')
  expect(parent.requests[0]?.tools).toContain('webfetch')
  expect(parent.childRequests[0]?.tools).toContain('read')
  expect(parent.childRequests[0]?.tools).not.toContain('webfetch')
})

test('a launch finds an agent whose name begins with invisible characters', async () => {
  const parent = await stage.parent()
  for (const agent of ['Helper - Of Many', 'helper-of-many']) {
    const [launched] = await parent.call([backgroundTask('help', { agent })])
    expect(launched).toContain('status: running')
  }
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(2)
})

test('a launch finds a model by its only similar name, and inherit is the usual model', async () => {
  const parent = await stage.parent()
  for (const model of ['inherit', 'm2', 'MOCK/M2']) {
    const [launched] = await parent.call([backgroundTask('think', { model })])
    expect(launched).toContain('status: running')
  }
  await parent.quiet()
  expect(parent.childRequests.map(({ model }) => model).toSorted()).toEqual(['m1', 'm2', 'm2'])
})

test('the tools find a task by any spelling of its id, and by the id of its session', async () => {
  const parent = await stage.parent()
  const [id = ''] = await parent.launch('answer')
  await parent.waitForNotice('done')
  await parent.quiet()
  const written = [id.toUpperCase(), id.slice(3), `\`${id}\``, ...(await childrenOf(parent))]
  const answers = await parent.call(written.map((task_id) => call('background_output', { task_id })))
  for (const answer of answers) expect(answer).toContain(`task_id: ${id}\n`)
})

test("the id of another session's child is treated as unknown", async () => {
  const [parent, other] = [await stage.parent(), await stage.parent()]
  await parent.launch('answer')
  await parent.waitForNotice('done')
  const [sessionID] = await childrenOf(parent)
  const [answer] = await other.call([call('background_output', { task_id: sessionID })])
  expect(answer).toContain('not found. None is known here.')
})

test('background_output of an unfinished task says that a notice arrives by itself', async () => {
  const parent = await stage.parent(never)
  const [agent] = await parent.launch('work')
  const command = await start(parent, 'sleep 600')
  const answers = await parent.call([
    call('background_output', { task_id: agent }),
    call('check_background', { taskId: command }),
  ])
  for (const answer of answers) expect(answer).toContain('An automatic notice reports its end.')
  await parent.call([call('background_cancel', { all: true })])
})

test('a block with too long a timeout waits for the maximum', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('answer')
  const [answer] = await parent.call([
    call('background_output', { task_id: id, block: true, timeout: 3_600_000 }),
  ])
  expect(answer).toContain('status: completed')
})

test('run_background refuses a timeout in seconds, and starts nothing', async () => {
  const parent = await stage.parent()
  const [answer] = await parent.call([call('run_background', { command: 'npm test', timeout: 120 })])
  expect(answer).toContain('timeout: must be 0 or at least 1000: it is in milliseconds. Nothing was done.')
  expect(await childrenOf(parent)).toEqual([])
})

test('a result says that its session has continued since, after a foreign message', async () => {
  const parent = await stage.parent(inOrder({ text: 'the first end' }, { text: 'a later answer' }))
  const [id] = await parent.launch('nest')
  await parent.waitForNotice('the first end')
  await parent.quiet()
  const [sessionID = ''] = await childrenOf(parent)
  const parts = [{ type: 'text' as const, text: 'What was started there is done.', synthetic: true }]
  await stage.server.client.session.prompt({
    path: { id: sessionID },
    body: { agent: 'general', parts },
    throwOnError: true,
  })
  await parent.quiet()
  const [result, transcript] = await parent.call([
    call('background_output', { task_id: id }),
    call('background_output', { task_id: id, full_session: true }),
  ])
  expect(result).toContain('After this end its session continued')
  expect(result).toContain('result:\nthe first end')
  expect(transcript).toContain('a later answer')
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a model reads the last state of a progress bar, and the lines before it', async () => {
  const parent = await stage.parent()
  const bar = String.raw`for i in $(seq 1 2000); do printf '\r%d of 2000' $i; done; echo`
  const id = await start(parent, `echo begin; ${bar}; echo end`)
  await parent.waitForNotice(id)
  expect(parent.noticeText).toContain('<result>begin\n2000 of 2000\nend</result>')
  const [shown] = await parent.call([call('check_background', { taskId: id })])
  expect(shown).toContain('begin\n2000 of 2000\nend')
})

test('the notice of a pipe says whose exit code it has, since a pipe hides a failed command', async () => {
  const parent = await stage.parent()
  const id = await start(parent, "sh -c 'echo 2 failed; exit 1' 2>&1 | tail -1")
  await parent.waitForNotice(id)
  expect(parent.noticeText).toContain('This is the exit code of "tail -1" alone.')
  const [shown] = await parent.call([call('check_background', { taskId: id })])
  expect(shown).toContain('This is the exit code of "tail -1" alone.')
})

test('the notice of a command that its own pkill has ended says so', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'pkill -f "vite --port 4321"; echo restarted')
  await parent.waitForNotice(id)
  expect(parent.noticeText).toContain('signal="SIGTERM"')
  expect(parent.noticeText).toContain('pkill -f matches its own shell.')
})

test('a user message ends a block at once, and the task works on', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const [id = ''] = await parent.launch('work long')
  const { result } = await parent.begin(
    call('background_output', { task_id: id, block: true, timeout: 600_000 }),
  )
  await stage.settle()
  await stage.server.prompt(parent.id, 'how far is it')
  expect(await result()).toContain('status: running')
  expect(parent.requests.at(-1)?.messages.some(({ content }) => content === 'how far is it')).toBe(true)
  release({ text: 'done at last' })
  await parent.waitForNotice('done at last')
})

test('the notice of a run that the user requested says so, and that of the next does not', async () => {
  const parent = await stage.parent()
  const [id] = await parent.launch('answer')
  await parent.waitForNotice('done')
  await parent.quiet()
  const [sessionID = ''] = await childrenOf(parent)
  // Request it as the terminal UI does.
  const { session } = stage.server.client
  const { data } = await session.get({ path: { id: sessionID }, throwOnError: true })
  const { metadata } = data as { metadata?: object }
  const backgroundRequest = { id: 'by-the-user', run: 1, kind: 'continue', prompt: 'once more' }
  const body = { metadata: { ...metadata, backgroundRequest } } as object
  await session.update({ path: { id: sessionID }, body, throwOnError: true })
  await parent.waitForNotice('run="2" asker="user"')
  await parent.quiet()
  await parent.call([call('background_task', { task_id: id, prompt: 'and again' })])
  await parent.waitForNotice('run="3"')
  expect(parent.noticeText).toContain('run="3" agent=')
})

test('a child has working tools of MCP servers', async () => {
  const parent = await stage.parent(
    inOrder({ tools: [{ name: 'far_ping', args: {} }] }, { text: 'it is there' }),
  )
  await parent.launch('ping it')
  await parent.waitForNotice('it is there')
  expect(parent.childRequests[1]?.messages.at(-1)?.content).toBe('pong')
})

test('a child may read outside of the project if its parent session may', async () => {
  const outside = join(stage.server.home, 'outside')
  mkdirSync(outside)
  writeFileSync(join(outside, 'a.txt'), 'read from outside')
  const allowed = { permission: 'external_directory', pattern: `${outside}/*`, action: 'allow' }
  const parent = await stage.parent(
    inOrder({ tools: [{ name: 'read', args: { filePath: join(outside, 'a.txt') } }] }, { text: 'has read' }),
    { permission: [allowed] },
  )
  await parent.launch('read it')
  await parent.waitForNotice('has read')
  expect(parent.childRequests[1]?.messages.at(-1)?.content).toContain('read from outside')
})

test('a launch is made once, although its answer breaks off and OpenCode retries the model', async () => {
  const parent = await stage.parent()
  const { script } = stage.model
  const tools = [
    backgroundTask('once'),
    backgroundTask('once'),
    call('run_background', { command: 'echo ran' }),
  ]
  const replies = [{ tools, cut: true }, { tools }]
  stage.model.script = (request) =>
    (request.sessionID === parent.id ? replies.shift() : undefined) ?? script(request)
  await stage.server.prompt(parent.id, 'go')
  await parent.waitForNotice('done')
  await parent.waitForNotice('ran')
  await parent.quiet()
  stage.model.script = script
  expect(replies).toEqual([])
  expect(parent.requests[1]?.messages.at(-1)?.content).toBe('go')
  expect(await childrenOf(parent)).toHaveLength(3)
  const told =
    parent.requests
      .at(-1)
      ?.messages.map(({ content }) => content)
      .join('\n') ?? ''
  expect(new Set(told.match(/bg_[0-9a-f]{8}/g)).size).toBe(3)
})

test('a cancelled agent leaves no process of its own bash tool running', async () => {
  const command = 'sleep 4321 & sleep 4322'
  const parent = await stage.parent(
    inOrder({ tools: [{ name: 'bash', args: { command, description: 'Wait' } }] }),
  )
  const [id] = await parent.launch('wait')
  const sleeping = (): string[] => runningIn(stage.server.home).filter((line) => line.includes('sleep 432'))
  await expect.poll(() => sleeping().length).toBeGreaterThan(1)
  await parent.call([call('background_cancel', { task_id: id })])
  await expect.poll(sleeping).toEqual([])
})

test('a result is reported although another plugin deletes the child as soon as it is idle', async () => {
  const project = stage.project()
  const config = join(project.directory, '.opencode')
  mkdirSync(join(config, 'plugin'), { recursive: true })
  skipPluginInstall(config)
  writeFileSync(join(config, 'plugin', 'deleting.js'), DELETING_PLUGIN)
  const parent = await stage.parent(() => ({ text: 'a precious result' }), {}, project)
  const [id] = await parent.launch('find it')
  await parent.waitForNotice(`${id}`)
  expect(parent.noticeText).toContain('status="completed"')
  expect(parent.noticeText).toContain('<result>a precious result</result>')
  const left = async (): Promise<readonly unknown[]> =>
    (await project.client.session.children({ path: { id: parent.id }, throwOnError: true })).data
  // The notice and the deletion follow the same event.
  await expect.poll(left).toEqual([])
})

test('a notice is answered by the agent and model that the user has chosen since the launch', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('look')
  await parent.quietBesidesChildren()
  await parent.say('let us plan', { agent: 'plan', model: 'm2' })
  release({ text: 'seen' })
  const answered = await parent.waitForNotice('seen')
  expect(answered.model).toBe('m2')
  expect(answered.messages.at(-1)?.content).toContain('Plan mode ACTIVE')
})

test('a command that asks for input receives none, and ends', async () => {
  const parent = await stage.parent()
  const commit = 'echo x > new && git add new && git -c user.name=a -c user.email=b commit'
  const asks = `export VISUAL=vi TERM=xterm; ${commit}; echo "commit $?"; read -r name; echo "read $?"; cat; ssh-add; echo over`
  const id = await start(parent, asks, { timeout: 20_000 })
  await parent.waitForNotice(id)
  expect(parent.noticeText).toContain('status="completed"')
  expect(parent.noticeText).toMatch(/commit 1\nread 1\nover/)
})
