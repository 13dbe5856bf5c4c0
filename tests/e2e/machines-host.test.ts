/** What the machines' code uses of another OpenCode server (contract 18). */
import { execFileSync } from 'node:child_process'
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
async function longShell(
  name: string,
  work = 'sleep 300',
  { first = '', at: { client, directory } = server } = {},
): Promise<{ readonly id: string; readonly pid: number }> {
  const { data } = await client.session.create({ body: { title: 'A shell' }, throwOnError: true })
  const { id } = data
  const file = join(directory, name)
  const script = Buffer.from(`out=$( { sh -c '${first}echo $$ >${file}; ${work}'; } )`).toString('base64')
  const hangUp = new AbortController()
  client.session
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

/** Ends the process group of a process, which is not that of the test. */
function endGroup(pid: number): void {
  const group = execFileSync('ps', ['-o', 'pgid=', '-p', String(pid)]).toString()
  process.kill(-Number(group), 'SIGKILL')
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
  endGroup(pid)
  const aborted = await longShell('second')
  await server.client.session.abort({ path: { id: aborted.id } })
  await expect.poll(() => isAlive(aborted.pid)).toBe(false)
})

test('an aborted session is idle although what ignores the signal goes on, in a process group of its own', async () => {
  const { id, pid } = await longShell('deaf', 'while :; do sleep 0.1; done', { first: 'trap "" TERM; ' })
  await server.client.session.abort({ path: { id } })
  expect((await server.client.session.status()).data).not.toHaveProperty(id)
  expect(isAlive(pid)).toBe(true)
  endGroup(pid)
  expect(await server.get('/global/health')).toMatchObject({ healthy: true })
})

test('a session without a parent stores its rules and metadata', async () => {
  const permission = [{ permission: 'task', pattern: '*', action: 'deny' as const }]
  const metadata = { 'background-machine': { task: 'bg_00000001' } }
  const { id } = await server.createSession({ title: 'A root', permission, metadata })
  const { data } = await server.client.session.get({ path: { id } })
  expect(data).toMatchObject({ permission, metadata })
})

test('a killed server leaves what the shell of a session runs', async () => {
  const other = await startOpencode({ model, config: { snapshot: false } })
  const { pid } = await longShell('left', 'sleep 300', { at: other })
  await other.stop({ signal: 'SIGKILL', keepHome: true })
  expect(isAlive(pid)).toBe(true)
  endGroup(pid)
  await other.stop()
})

test('a server tells its version', async () => {
  const { healthy, version } = (await server.get('/global/health')) as { healthy: boolean; version: string }
  expect(healthy).toBe(true)
  expect(version).toMatch(/^1\.\d+\.\d+$/)
})
