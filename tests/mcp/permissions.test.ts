import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createPlace, startMcp, type Era, type Mcp, type McpOptions, type McpPlace } from '../harness/mcp.ts'

const ERAS: readonly Era[] = ['legacy', 'modern']
let place: McpPlace
let mcp: Mcp | undefined
const start = async (options?: McpOptions): Promise<Mcp> => {
  mcp = await startMcp(place, options)
  return mcp
}

beforeEach(() => {
  place = createPlace()
})
afterEach(async () => {
  await mcp?.close()
  mcp = undefined
  place.remove()
})

/** A client whose user answers each question with `action`. */
const withUser = (action: 'accept' | 'decline' | 'cancel', asked: string[]): McpOptions => ({
  capabilities: { elicitation: {} },
  prepare: (client) =>
    client.setRequestHandler('elicitation/create', ({ params }) => {
      asked.push(params.message)
      return { action, ...(action === 'accept' && { content: {} }) }
    }),
})

const withRoots = (paths: readonly string[]): McpOptions => ({
  capabilities: { roots: {} },
  prepare: (client) =>
    client.setRequestHandler('roots/list', () => ({
      roots: paths.map((path) => ({ uri: path.includes(':') ? path : pathToFileURL(path).href })),
    })),
})

test('without rules a command runs, and a path outside of the root is refused', async () => {
  const { call } = await start()
  expect((await call('run_background', { command: 'echo fine' })).isError).toBe(false)
  const outside = await call('run_background', { command: 'cat /etc/hostname' })
  expect(outside.text).toContain('ask for external_directory: /etc/*')
  expect(outside.text).toContain('by "external_directory" in the "permission" of the file of --config')
  expect(outside.isError).toBe(true)
})

test('--allow, --deny and --config decide by the simple commands of a line, and the last rule wins', async () => {
  const config = join(place.root, 'opencode.jsonc')
  writeFileSync(
    config,
    '{ // rules\n "permission": { "bash": { "make *": "allow", "make clean": "ask" } }, }',
  )
  const { call } = await start({ args: ['--allow', 'echo *', '--deny', 'echo secret*', '--config', config] })
  const verdict = async (command: string): Promise<string> => {
    const { text, isError } = await call('run_background', { command })
    return isError ? (/deny|ask for|cannot|parse/.exec(text)?.[0] ?? text) : 'started'
  }
  expect(await verdict('echo a')).toBe('started')
  expect(await verdict('echo a; rm -rf x')).toBe('ask for')
  expect(await verdict('echo a && echo secret plan')).toBe('deny')
  expect(await verdict('make all')).toBe('started')
  expect(await verdict('make clean')).toBe('ask for')
  const unparsed = await call('run_background', { command: 'echo "' })
  expect(unparsed).toMatchObject({ isError: true })
  expect((await call('list_background')).structured.tasks).toHaveLength(2)
})

test.each(ERAS)(
  'a client of the %s era asks its user, and only an acceptance starts the command',
  async (era) => {
    const asked: string[] = []
    const args = ['--allow', 'echo *']
    const accepting = await start({ args, era, ...withUser('accept', asked) })
    const { isError } = await accepting.call('run_background', { command: 'touch made' })
    expect({ isError, asked }).toEqual({ isError: false, asked: ['Allow this once? bash: touch made'] })
    await accepting.close()
    const declining = await start({ args, era, ...withUser('decline', asked) })
    const refused = await declining.call('run_background', { command: 'touch made' })
    expect(refused).toMatchObject({ isError: true, text: expect.stringContaining('did not allow') as string })
  },
)

test('a client that can open links for its user, and not fill forms, is not asked', async () => {
  const capabilities = { elicitation: { url: {} } }
  const { call } = await start({ args: ['--allow', 'echo *'], capabilities })
  const refused = await call('run_background', { command: 'touch made' })
  expect(refused).toMatchObject({ isError: true, text: expect.stringContaining('cannot ask') as string })
})

test.each(ERAS)("a client's roots of the %s era narrow the root of the server", async (era) => {
  for (const name of ['a', 'b']) mkdirSync(join(place.root, name))
  symlinkSync('/etc', join(place.root, 'a', 'link'))
  const { call } = await start({ era, ...withRoots([join(place.root, 'a'), '/usr']) })
  const cwdOf = async (cwd?: string): Promise<unknown> => {
    const { structured, isError, text } = await call('run_background', {
      command: 'true',
      ...(cwd && { cwd }),
    })
    return isError ? text.slice(0, 30) : structured.task
  }
  expect(await cwdOf()).toMatchObject({ cwd: join(place.root, 'a') })
  for (const cwd of [join(place.root, 'b'), '..', 'link', '/usr']) expect(await cwdOf(cwd)).toMatch(/^cwd: /)
})

test('roots outside of the root of the server allow no directory; unreadable ones change nothing', async () => {
  const outside = await start(withRoots(['/usr']))
  const refused = await outside.call('run_background', { command: 'true' })
  expect(refused.text).toContain("The client's roots are outside")
  await outside.close()
  const unreadable = await start(withRoots(['/nonexistent', 'https://example.org/']))
  const { structured } = await unreadable.call('run_background', { command: 'true' })
  expect(structured.task).toMatchObject({ cwd: realpathSync(place.root) })
})

test.each(ERAS)('a line that needs two permissions is asked for each once, in the %s era', async (era) => {
  const asked: string[] = []
  const { call } = await start({ args: ['--allow', 'echo *'], era, ...withUser('accept', asked) })
  const { isError, structured } = await call('run_background', { command: 'cat /etc/hostname; touch made' })
  expect(isError).toBe(false)
  expect(structured.task.status).toBe('running')
  expect(asked).toEqual([
    'Allow this once? external_directory: /etc/*',
    'Allow this once? bash: cat /etc/hostname, touch made',
  ])
})

test.each(ERAS)('a command starts where the roots of the client are now, in the %s era', async (era) => {
  const roots = ['a', 'b'].map((name) => join(place.root, name))
  for (const path of roots) mkdirSync(path)
  const asked: string[] = []
  const { capabilities, prepare } = withUser('accept', asked)
  const { client, call } = await start({
    args: ['--allow', 'echo *'],
    era,
    capabilities: { ...capabilities, roots: { listChanged: true } },
    prepare: (each) => {
      prepare?.(each)
      each.setRequestHandler('roots/list', () => ({ roots: [{ uri: pathToFileURL(roots[0] ?? '').href }] }))
    },
  })
  for (const path of ['a', 'b'].map((name) => join(place.root, name))) {
    expect((await call('run_background', { command: 'pwd' })).structured.task).toMatchObject({ cwd: path })
    roots.shift()
    // The revision of 2026 has no such notification.
    if (era === 'legacy') await client.sendRootsListChanged()
  }
  expect(asked).toHaveLength(2)
})

test('a question shows the control characters of a command', async () => {
  const asked: string[] = []
  const { call } = await start({ args: ['--allow', 'echo *'], ...withUser('decline', asked) })
  await call('run_background', { command: 'touch "a\u001b[2K\rb\n\u202ec"' })
  expect(asked).toEqual([String.raw`Allow this once? bash: touch "a\x1b[2K\x0db\x0a\u202ec"`])
})
