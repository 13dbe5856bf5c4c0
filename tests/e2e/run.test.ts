import { afterEach, beforeEach, expect, test } from 'vitest'
import { startModel, type LoggedRequest, type ScriptedModel } from '../harness/model.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { isRunning } from '../harness/processes.ts'
import { startRun, type Run } from '../harness/run.ts'
import type { Script, ToolCall } from '../harness/script.ts'
import { backgroundTask, obey } from '../harness/stage.ts'

let model: ScriptedModel

beforeEach(async () => {
  model = await startModel()
})
afterEach(() => model.close())

/** Scripts a parent that answers with the notices it has read; `child` answers for the children. */
function play(child: Script): void {
  model.script = (request) => {
    if (request.parentSessionID !== undefined) return child(request)
    const last = request.messages.at(-1)?.content ?? ''
    const results = [...last.matchAll(/<result>(.*?)<\/result>/g)].map(([, text]) => text)
    return results.length > 0 ? { text: `I have read: ${results.join(' and ')}.` } : obey(request)
  }
}

/** Resolves when the parent's model has answered a request whose newest message has this role and contains this text. */
function isAnswered(role: string, text = ''): Promise<LoggedRequest> {
  return model.waitForRequest(({ parentSessionID, outcome, messages }) => {
    const newest = messages.at(-1)
    return (
      parentSessionID === undefined &&
      outcome === 'answered' &&
      newest?.role === role &&
      newest.content.includes(text)
    )
  })
}

/** Resolves with the first request of a child. */
const childHasBegun = (): Promise<LoggedRequest> =>
  model.waitForRequest(({ parentSessionID }) => parentSessionID !== undefined)

/** Starts `opencode run`, whose parent makes these calls at once. */
async function startWith(calls: readonly ToolCall[], options: object = {}): Promise<Run> {
  const plugins = [[await buildPlugin(), options] as const]
  return startRun(calls.length === 0 ? 'hello' : `CALL ${JSON.stringify(calls)} END`, { model, plugins })
}

async function start(descriptions: readonly string[], options: object = {}): Promise<Run> {
  return startWith(
    descriptions.map((description) => backgroundTask(description)),
    options,
  )
}

test('`opencode run` waits for its tasks, and prints the answer of the model to each notice', async () => {
  play(async ({ messages }) => {
    const asked = messages.at(-1)?.content ?? ''
    // Each end comes after the turn before it.
    await (asked === 'quick' ? isAnswered('tool') : isAnswered('user', 'result of quick'))
    return { text: `result of ${asked}` }
  })
  const { output, code } = await (await start(['quick', 'slow'])).ended
  expect(output).toContain('I have read: result of quick.')
  expect(output).toContain('I have read: result of slow.')
  expect(code).toBe(0)
})

test('`opencode run` waits for a text of notify_on from a server, and then ends the server', async () => {
  play(() => ({ text: 'done' }))
  const args = { command: 'sleep 1; echo READY; sleep 1330', timeout: 0, notify_on: ['READY'] }
  const { output, code } = await (await startWith([{ name: 'run_background', args }])).ended
  expect(code).toBe(0)
  expect(output).toContain('Noted.')
  const told = model.requests.flatMap(({ messages }) => messages).map(({ content }) => content)
  expect(told.join('\n')).toContain('Its output has: READY')
  await expect.poll(() => isRunning('sleep 1330')).toBe(false)
})

test('`opencode run` waits for the end of a test run after its text of notify_on', async () => {
  play(() => ({ text: 'done' }))
  const args = { command: 'sleep 1; echo FAIL one; sleep 4; echo all tests ran', notify_on: ['FAIL'] }
  const { code } = await (await startWith([{ name: 'run_background', args }])).ended
  expect(code).toBe(0)
  const told = model.requests.flatMap(({ messages }) => messages).map(({ content }) => content)
  expect(told.join('\n')).toContain('all tests ran</result>')
})

test('`opencode run` does not wait for a server without a timeout that is ready and listens', async () => {
  play(() => ({ text: 'done' }))
  const server = 'require("net").createServer().listen(0, () => console.log("READY"))'
  const args = { command: `node -e '${server}'`, notify_on: ['READY'] }
  const { code } = await (await startWith([{ name: 'run_background', args }])).ended
  expect(code).toBe(0)
  const told = model.requests.flatMap(({ messages }) => messages).map(({ content }) => content)
  expect(told.join('\n')).toContain('Its output has: READY')
})

test('`opencode run` waits no longer than its limit, and then stops its tasks', async () => {
  play(() => new Promise(() => {}))
  const { script } = model
  // The limit begins with the answer of the parent, which comes after the child has begun.
  model.script = async (request) => {
    if (request.messages.at(-1)?.role === 'tool') await childHasBegun()
    return script(request)
  }
  const { output, code } = await (await start(['endless'], { headless: { waitMs: 2000 } })).ended
  expect(output).toContain('Noted.')
  expect(code).toBe(0)
  const child = await childHasBegun()
  await expect.poll(() => child.outcome).toBe('closed')
})

test('`opencode run` without tasks ends when its answer is printed', async () => {
  play(() => ({ text: 'never asked' }))
  const { output, code } = await (await start([])).ended
  expect(output).toContain('Noted.')
  expect(code).toBe(0)
  expect(model.requests.every(({ parentSessionID }) => parentSessionID === undefined)).toBe(true)
})

test('Ctrl-C ends a waiting `opencode run` at once', async () => {
  play(() => new Promise(() => {}))
  const run = await start(['endless'])
  await isAnswered('tool')
  run.kill('SIGINT')
  // Without the signal it waits for longer than this test may take.
  await expect(run.ended).resolves.toBeDefined()
})

test('`opencode run` waits for a command with a time limit, but ends a server', async () => {
  play(() => ({ text: 'never asked' }))
  const server = { name: 'run_background', args: { command: 'sleep 1250 & sleep 1251', timeout: 0 } }
  const build = { name: 'run_background', args: { command: 'sleep 1; echo built' } }
  const { output, code } = await (await startWith([server, build])).ended
  expect(output).toContain('I have read: built.')
  expect(code).toBe(0)
  await expect.poll(() => isRunning('sleep 125')).toBe(false)
})

test('Ctrl-C leaves no command behind', async () => {
  play(() => ({ text: 'never asked' }))
  const run = await startWith([{ name: 'run_background', args: { command: 'sleep 1252 & sleep 1253' } }])
  await expect.poll(() => isRunning('sleep 1253')).toBe(true)
  run.kill('SIGINT')
  await run.ended
  await expect.poll(() => isRunning('sleep 125')).toBe(false)
})
