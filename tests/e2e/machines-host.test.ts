/** What the machines' code uses of another OpenCode server (contract 18). */
import { afterAll, beforeAll, expect, test } from 'vitest'
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
