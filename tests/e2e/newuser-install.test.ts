/** Updates and removes the plugin for each way of installing it, and shows how a failed load appears. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createHome, environment, skipPluginInstall, type Home } from '../harness/home.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { tarball } from '../harness/packed.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { opencodeBinary } from '../harness/process.ts'
import { repacked, startRegistry, type Registry } from '../harness/registry.ts'
import { startOpencode } from '../harness/server.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const NAME = 'opencode-background'
const TEXT = 'List your background tasks'

let model: ScriptedModel
let registry: Registry
let packed: string

beforeAll(async () => {
  model = await startModel(() => ({ text: 'Hello.' }))
  registry = await startRegistry()
  packed = await tarball()
})
afterAll(async () => {
  await registry.close()
  await model.close()
})

/** Creates a home whose npm uses our registry alone. */
function freshHome(): Home {
  const home = createHome()
  const config = join(home.directory, '.opencode')
  mkdirSync(config)
  skipPluginInstall(config)
  writeFileSync(join(home.path, '.npmrc'), `registry=${registry.url}/\n`)
  return home
}

async function opencode({ directory, ...home }: Home, ...words: readonly string[]): Promise<string> {
  const env = environment({ directory, ...home })
  const { stdout, stderr } = await run(opencodeBinary(), [...words], { cwd: directory, env })
  return stdout + stderr
}

/** Starts OpenCode, and resolves with a tool's description; `undefined` without the plugin. */
async function loadedIn(home: Home): Promise<string | undefined> {
  const server = await startOpencode({ model, home: home.path })
  try {
    const query = { provider: 'mock', model: 'm1' }
    const { data } = await server.client.tool.list({ query, throwOnError: true })
    return data.find(({ id }) => id === 'list_background')?.description.split('.')[0]
  } finally {
    await server.stop({ keepHome: true })
  }
}

type Config = { plugin: [string, object][] }

/** Changes the `plugin` lists of both files. */
function configure({ directory }: Home, change: (plugins: Config['plugin']) => Config['plugin']): void {
  for (const name of ['opencode.json', 'tui.json']) {
    const path = join(directory, '.opencode', name)
    const config = JSON.parse(readFileSync(path, 'utf8')) as Config
    writeFileSync(path, JSON.stringify({ ...config, plugin: change(config.plugin) }))
  }
}

const version = (number: string, mark: string): string => repacked(packed, number, [TEXT, `${mark}. ${TEXT}`])

test('N1: each pack has its own version and file name, and leaves the checkout unchanged', async () => {
  const status = (): Promise<{ stdout: string }> => run('git', ['status', '--porcelain'], { cwd: root })
  const before = await status()
  expect(basename(packed)).toMatch(/^opencode-background-0\.1\.0-dev\.g[0-9a-f]+(\.x[0-9a-f]{8})?\.tgz$/)
  const { stdout } = await run('tar', ['-xzOf', packed, 'package/package.json'])
  const { version: own } = JSON.parse(stdout) as { version: string }
  expect(basename(packed)).toBe(`${NAME}-${own}.tgz`)
  expect(await status()).toEqual(before)
})

// It installs six times, and starts OpenCode seven times.
test(
  'N1: the README’s update and removal work, from the registry and from a tarball',
  { timeout: 600_000 },
  async () => {
    const home = freshHome()
    registry.publish(version('1.0.0', 'first'))
    await opencode(home, 'plugin', NAME)
    configure(home, (plugins) => plugins.map(([entry]) => [entry, { pollMs: 4000 }]))
    expect(await loadedIn(home)).toBe('first')

    registry.publish(version('1.1.0', 'second'))
    // OpenCode has already installed the bare name.
    await opencode(home, 'plugin', '-f', NAME)
    expect(await loadedIn(home)).toBe('first')
    await opencode(home, 'plugin', '-f', `${NAME}@1.1.0`)
    expect(await loadedIn(home)).toBe('second')

    await opencode(home, 'plugin', `${NAME}@${version('1.2.0', 'third')}`)
    expect(await loadedIn(home)).toBe('second')
    const newest = version('1.3.0', 'fourth')
    const spec = `${NAME}@${newest}`
    await opencode(home, 'plugin', '-f', spec)
    expect(await loadedIn(home)).toBe('fourth')
    copyFileSync(version('1.4.0', 'fifth'), newest)
    await opencode(home, 'plugin', '-f', spec)
    expect(await loadedIn(home)).toBe('fourth')

    configure(home, (plugins) => {
      expect(plugins).toEqual([[spec, { pollMs: 4000 }]])
      return []
    })
    expect(await loadedIn(home)).toBeUndefined()
    rmSync(home.path, { recursive: true, maxRetries: 5, retryDelay: 50 })
  },
)

test('N6: OpenCode logs nothing of a missing or failing plugin, and Node reports the failure', async () => {
  const place = mkdtempSync(join(tmpdir(), 'opencode-broken-'))
  const broken = (name: string, code: string): string => {
    const path = join(place, `${name}.js`)
    writeFileSync(path, code)
    return path
  }
  const missing = join(place, 'missing')
  const throwing = broken('throwing', 'throw new Error("fails at import")')
  const starting = broken(
    'starting',
    'export default { id: "x", server: async () => { throw new Error("fails at start") } }',
  )
  const server = await startOpencode({ model, plugins: [missing, throwing, starting] })
  try {
    const { id } = await server.createSession()
    await server.prompt(id, 'hello')
    await server.waitForIdle(id)
    const told = (await server.log()) + server.output
    expect(told).toContain('failed to load plugin')
    expect(told).toContain('fails at start')
    for (const word of [missing, throwing, 'fails at import']) expect(told).not.toContain(word)
  } finally {
    await server.stop()
  }
  const imported = (path: string): Promise<string> =>
    run(process.execPath, ['-e', `import('${path}')`]).then(
      ({ stdout, stderr }) => stdout + stderr,
      (error: { stderr: string }) => error.stderr,
    )
  expect(await imported(missing)).toContain('Cannot find module')
  expect(await imported(throwing)).toContain('fails at import')
  expect(await imported(await buildPlugin())).toBe('')
  rmSync(place, { recursive: true })
})
