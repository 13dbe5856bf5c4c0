import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { startRun, type Run } from '../harness/run.ts'
import type { Script } from '../harness/script.ts'
import { backgroundTask, obey } from '../harness/stage.ts'

let model: ScriptedModel

beforeEach(async () => {
  model = await startModel()
})
afterEach(() => model.close())

/** The parent says what it has read of notices; `child` answers for the children. */
function play(child: Script): void {
  model.script = (request) => {
    if (request.parentSessionID !== undefined) return child(request)
    const last = request.messages.at(-1)?.content ?? ''
    const results = [...last.matchAll(/<result>(.*?)<\/result>/g)].map(([, text]) => text)
    return results.length > 0 ? { text: `I have read: ${results.join(' and ')}.` } : obey(request)
  }
}

async function start(descriptions: readonly string[], options: object = {}): Promise<Run> {
  const calls = descriptions.map((description) => backgroundTask(description))
  const plugins = [[await buildPlugin(), options] as const]
  return startRun(calls.length === 0 ? 'hello' : `CALL ${JSON.stringify(calls)} END`, { model, plugins })
}

test('`opencode run` waits for what it launched, one after another, and prints what the model says to each notice', async () => {
  play(async ({ messages }) => {
    const asked = messages.at(-1)?.content ?? ''
    await sleep(asked === 'quick' ? 1500 : 4000)
    return { text: `result of ${asked}` }
  })
  const { output, code } = await (await start(['quick', 'slow'])).ended
  expect(output).toContain('I have read: result of quick.')
  expect(output).toContain('I have read: result of slow.')
  expect(code).toBe(0)
})

test('`opencode run` waits no longer than it may, and what it leaves is stopped', async () => {
  play(() => new Promise(() => {}))
  const { output, code } = await (await start(['endless'], { run: { waitMs: 2000 } })).ended
  expect(output).toContain('Noted.')
  expect(code).toBe(0)
  const child = model.requests.find(({ parentSessionID }) => parentSessionID !== undefined)
  await expect.poll(() => child?.outcome).toBe('closed')
})

test('a run that launches nothing ends when its answer has been printed', async () => {
  play(() => ({ text: 'never asked' }))
  const { output, code } = await (await start([])).ended
  expect(output).toContain('Noted.')
  expect(code).toBe(0)
  expect(model.requests.every(({ parentSessionID }) => parentSessionID === undefined)).toBe(true)
})

test('Ctrl-C ends a run that waits at once', async () => {
  play(() => new Promise(() => {}))
  const run = await start(['endless'])
  await model.waitForRequest(({ parentSessionID }) => parentSessionID !== undefined)
  await sleep(1000)
  run.kill('SIGINT')
  const winner = await Promise.race([run.ended.then(() => 'ended'), sleep(5000, 'still there')])
  expect(winner).toBe('ended')
})
