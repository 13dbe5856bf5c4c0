import { afterEach, beforeEach, expect, test } from 'vitest'
import { createPlace, startRawMcp, type McpPlace, type RawMcp } from '../harness/mcp.ts'

let place: McpPlace
let mcp: RawMcp

beforeEach(async () => {
  place = createPlace()
  mcp = await startRawMcp(place)
})
afterEach(async () => {
  const exitCode = await mcp.close()
  place.remove()
  if (exitCode !== 0) throw new Error(`The server has not lived: it ended with ${exitCode}.`)
})

const call = (name: string, input: unknown): Promise<Record<string, unknown>> =>
  mcp.request('tools/call', { name, arguments: input })

/** The text of a tool's error. */
async function refusal(name: string, input: unknown): Promise<string> {
  const { result } = (await call(name, input)) as {
    readonly result: { readonly isError: boolean; readonly content: readonly [{ readonly text: string }] }
  }
  expect(result.isError).toBe(true)
  return result.content[0].text
}

test('a line that is no JSON, or no request, is answered, and the server lives', async () => {
  expect(await mcp.exchange('this is no JSON')).toMatchObject({ id: null, error: { code: -32700 } })
  expect(await mcp.exchange('{"jsonrpc":"2.0","id":"x"}')).toMatchObject({ id: 'x', error: { code: -32600 } })
  for (const line of [
    '[]',
    '7',
    'null',
    '{"jsonrpc":"1.0","id":1,"method":"ping"}',
    '{"id":[],"method":"ping"}',
  ])
    expect(await mcp.exchange(line)).toMatchObject({ error: { code: -32600 } })
  expect(await mcp.request('nope')).toMatchObject({ error: { code: -32601 } })
  expect(await mcp.request('ping')).toMatchObject({ result: {} })
})

test('a request of an unknown revision is told which are known, also after the first request', async () => {
  const request = (method: string, version: string): Promise<Record<string, unknown>> =>
    mcp.request(method, {
      _meta: {
        'io.modelcontextprotocol/protocolVersion': version,
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    })
  expect(await request('tools/list', '2026-07-28')).toMatchObject({ result: {} })
  const { result } = (await request('server/discover', '2026-07-28')) as {
    readonly result: { readonly supportedVersions: unknown }
  }
  expect(await request('server/discover', '2099-01-01')).toMatchObject({
    error: { code: -32022, data: { supported: result.supportedVersions, requested: '2099-01-01' } },
  })
})

test('a client that never sends `initialized` is served', async () => {
  const version = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } }
  expect(await mcp.request('initialize', version)).toMatchObject({
    result: { serverInfo: { name: 'opencode-background' } },
  })
  expect(await call('list_background', {})).toMatchObject({ result: { structuredContent: { tasks: [] } } })
})

test('an unknown tool and arguments that are no object are errors of the protocol', async () => {
  const { error } = (await call('run', {})) as { readonly error: { readonly message: string } }
  expect(error).toMatchObject({ code: -32602 })
  expect(error.message).toContain('There is no tool "run", only run_background, check_background')
  expect(await call('run_background', [1])).toMatchObject({ error: { code: -32602 } })
  expect(await mcp.request('tools/call', { name: 7 })).toMatchObject({ error: { code: -32602 } })
})

test('wrong arguments are errors of the tool that say what to do, and start nothing', async () => {
  expect(await refusal('run_background', {})).toContain('command: must not be empty')
  expect(await refusal('run_background', { command: ' ' })).toContain('command: must not be empty')
  expect(await refusal('run_background', { command: 'true', timeout: 'soon' })).toContain('timeout: ')
  expect(await refusal('run_background', { command: 'true', timeout: 5 })).toContain('it is in milliseconds')
  expect(await refusal('run_background', { command: 'true', comand: 'x' })).toContain('did you mean command?')
  expect(await refusal('run_background', { command: 'true', cwd: '/etc' })).toContain('is outside of')
  expect(await refusal('run_background', { command: 'true', cwd: 'nope' })).toContain('does not exist')
  expect(await refusal('run_background', { command: 'a'.repeat(200_000) })).toContain('longer than 20000')
  expect(await refusal('run_background', { command: 'echo "' })).toMatch(/cannot be parsed|not be parsed/)
  expect(await refusal('check_background', { task_id: 'bg_00000000' })).toContain('not found')
  expect(await refusal('kill_background', { task_id: ['a', 'b'] })).toContain('make a call for each')
  expect(await call('list_background', {})).toMatchObject({ result: { structuredContent: { tasks: [] } } })
})
