import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import { createHome, environment, homeAt, skipPluginInstall } from '../harness/home.ts'
import * as packed from '../harness/packed.ts'
import { opencodeBinary } from '../harness/process.ts'
import { startStage, type StageOptions } from '../harness/stage.ts'

const run = promisify(execFile)
let tarball: string
/** The folder of the unpacked package. */
let folder: string

beforeAll(async () => {
  tarball = await packed.tarball()
  const place = mkdtempSync(join(tmpdir(), 'opencode-unpacked-'))
  await run('tar', ['-xzf', tarball, '-C', place])
  folder = join(place, 'package')
})

test('the package holds the bundle, its types and the texts, and depends on nothing', async () => {
  const { stdout } = await run('tar', ['-tzf', tarball])
  const files = stdout.trim().split('\n').toSorted()
  const types = files.filter((file) => file.startsWith('package/dist/types/'))
  expect(files.filter((file) => !types.includes(file))).toEqual([
    'package/CHANGELOG.md',
    'package/LICENSE',
    'package/README.md',
    'package/dist/after-restart.js',
    'package/dist/answers.js',
    'package/dist/arguments.js',
    'package/dist/budgets.js',
    'package/dist/cancelling.js',
    'package/dist/command.js',
    'package/dist/event-stream.js',
    'package/dist/fleet-command.js',
    'package/dist/fleet-runs.js',
    'package/dist/followers.js',
    'package/dist/forks.js',
    'package/dist/machine-runs.js',
    'package/dist/manager.js',
    'package/dist/mcp.js',
    'package/dist/migrate.js',
    'package/dist/monitor.js',
    'package/dist/options.schema.json',
    'package/dist/orphan-reaper.js',
    'package/dist/output-match.js',
    'package/dist/panes.js',
    'package/dist/postgres-fleet.js',
    'package/dist/recover-agent.js',
    'package/dist/recover-command.js',
    'package/dist/remove-old.js',
    'package/dist/request-answers.js',
    'package/dist/required-permissions.js',
    'package/dist/server.js',
    'package/dist/task-calls.js',
    'package/dist/timeline-command.js',
    'package/dist/timeline-file.js',
    'package/dist/timeline-page.js',
    'package/dist/tree-sitter/LICENSE',
    'package/dist/tree-sitter/tree-sitter-bash.wasm',
    'package/dist/tree-sitter/tree-sitter.cjs',
    'package/dist/tree-sitter/tree-sitter.wasm',
    'package/dist/tui.js',
    'package/dist/unknown-task.js',
    'package/dist/worker-command.js',
    'package/dist/worktree-runs.js',
    'package/package.json',
  ])
  const entries = ['manager', 'server', 'tui']
  expect(types).toEqual(entries.map((entry) => `package/dist/types/${entry}.d.ts`))
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as object
  expect(manifest).not.toHaveProperty('dependencies')
})

test.each(['check:publint', 'check:attw'])('`npm run %s` accepts the package', async (script) => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  // A rejection has the output.
  await expect(run('npm', ['run', '--silent', script, '--', tarball], { cwd: root })).resolves.toBeDefined()
})

test('an install from the tarball brings the command without a warning, and it serves MCP', async () => {
  const project = mkdtempSync(join(tmpdir(), 'opencode-install-'))
  const { stdout, stderr } = await run('npm', ['install', '--no-audit', '--no-fund', tarball], {
    cwd: project,
  })
  expect(`${stdout}${stderr}`).not.toMatch(/warn/i)
  const command = join(project, 'node_modules', '.bin', 'opencode-background')
  const request = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
  const line = `echo '${request}' | XDG_STATE_HOME=${project} ${command} mcp`
  const { tools } = (JSON.parse((await run('sh', ['-c', line])).stdout) as { result: { tools: object[] } })
    .result
  expect(tools).toHaveLength(4)
  const refused = await run(command, ['mcp', '--nope']).catch((error: unknown) => error)
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--help lists the options') as string,
  })
  rmSync(project, { recursive: true })
})

test('the schema of the options contains each one, with its default and meaning', () => {
  const schema = JSON.parse(readFileSync(join(folder, 'dist', 'options.schema.json'), 'utf8')) as {
    properties: Record<string, { default?: unknown; description?: string }>
  }
  expect(Object.keys(schema.properties)).toEqual(Object.keys(parseOptions({}).options))
  expect(schema.properties['pollMs']).toMatchObject({
    default: 5000,
    description: expect.stringContaining('status') as string,
  })
})

test('OpenCode loads the plugin from a folder, with the options of its tuple', async () => {
  await expectItToWork({ plugins: [[folder, { pollMs: 'often' }]] })
})

test('`opencode plugin` installs the packed plugin, which loads with the options of its tuple', async () => {
  const home = createHome()
  mkdirSync(join(home.directory, '.opencode'))
  skipPluginInstall(join(home.directory, '.opencode'))
  const spec = `opencode-background@${tarball}`
  await run(opencodeBinary(), ['plugin', spec], { cwd: home.directory, env: environment(home) })
  const path = join(homeAt(home.path).directory, '.opencode', 'opencode.json')
  expect(existsSync(path)).toBe(true)
  const config = JSON.parse(readFileSync(path, 'utf8')) as { plugin: unknown[] }
  expect(JSON.stringify(config.plugin)).toContain('opencode-background@')
  writeFileSync(path, JSON.stringify({ ...config, plugin: [[spec, { pollMs: 'often' }]] }))
  await expectItToWork({ home: home.path, plugins: [] })
})

async function expectItToWork(options: StageOptions): Promise<void> {
  const stage = await startStage(options)
  try {
    const parent = await stage.parent()
    await parent.launch('work')
    await parent.waitForNotice('done')
    const [list] = await parent.call([{ name: 'list_background', args: {} }])
    expect(list).toContain('✅ done')
    expect(list).toContain('option pollMs: ')
  } finally {
    await stage.close()
  }
}
