/** What the machines' code uses of another OpenCode server (contract 18). */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isAlive } from '../harness/processes.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'

let model: ScriptedModel
let server: OpencodeServer

beforeAll(async () => {
  model = await startModel()
  server = await startOpencode({ model, config: { snapshot: false, permission: { bash: 'ask' } } })
})
afterAll(async () => {
  await server.stop()
  await model.close()
})

/** Resolves with the answer, and the output of its tool part. */
async function shell(command: string): Promise<{ readonly status: number; readonly output: string }> {
  const { id } = await server.createSession({ title: 'A shell' })
  const query = `directory=${encodeURIComponent(server.directory)}`
  const response = await fetch(`${server.url}/session/${id}/shell?${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ agent: 'build', command }),
  })
  const { parts = [] } = (await response.json()) as { parts?: { state?: { output?: string } }[] }
  return { status: response.status, output: parts.map(({ state }) => state?.output ?? '').join('') }
}

/** Starts a process in the shell of a new session, whose client hangs up. */
async function longShell(name: string): Promise<{ readonly id: string; readonly pid: number }> {
  const { id } = await server.createSession({ title: 'A shell' })
  const file = join(server.directory, name)
  const script = Buffer.from(`out=$( { echo $$ >${file}; sleep 300; } )`).toString('base64')
  const hangUp = new AbortController()
  server.client.session
    .shell({
      path: { id },
      body: { agent: 'build', command: `echo ${script} | base64 -d | sh -s` },
      signal: hangUp.signal,
    })
    .catch(() => {})
  await expect.poll(() => existsSync(file) && readFileSync(file, 'utf8')).toMatch(/\d\n/)
  hangUp.abort()
  return { id, pid: Number(readFileSync(file, 'utf8')) }
}

test("a session's shell answers with all that a command prints, without a permission or a model", async () => {
  const before = model.requests.length
  const { output } = await shell('pwd; head -c 300000 /dev/zero | base64 | tr -d "\\n"')
  expect(output.startsWith(`${server.directory}\n`)).toBe(true)
  expect(output.trim().length).toBe(server.directory.length + 1 + 400_000)
  expect(model.requests.length).toBe(before)
})

test("a session's shell takes a command line of 120 KB, and refuses one of 140 KB", async () => {
  const counted = async (length: number): Promise<{ readonly status: number; readonly output: string }> =>
    shell(`printf %s ${'A'.repeat(length)} | wc -c`)
  expect((await counted(120_000)).output.trim()).toBe('120000')
  expect((await counted(140_000)).status).toBe(500)
})

test("a session's shell evaluates a command line twice", async () => {
  expect((await shell("x=inner; echo '$x'")).output.trim()).toBe('')
})

test('an abort ends what the shell of a session runs, and a deletion of the session does not', async () => {
  const { id, pid } = await longShell('first')
  await server.client.session.delete({ path: { id } })
  expect(isAlive(pid)).toBe(true)
  process.kill(pid)
  const aborted = await longShell('second')
  await server.client.session.abort({ path: { id: aborted.id } })
  await expect.poll(() => isAlive(aborted.pid)).toBe(false)
})

test('a session without a parent stores its rules and metadata', async () => {
  const permission = [{ permission: 'task', pattern: '*', action: 'deny' as const }]
  const metadata = { 'background-machine': { task: 'bg_00000001' } }
  const { id } = await server.createSession({ title: 'A root', permission, metadata })
  const { data } = await server.client.session.get({ path: { id } })
  expect(data).toMatchObject({ permission, metadata })
})

test('a server tells its version', async () => {
  const { healthy, version } = (await server.get('/global/health')) as { healthy: boolean; version: string }
  expect(healthy).toBe(true)
  expect(version).toMatch(/^1\.\d+\.\d+$/)
})
