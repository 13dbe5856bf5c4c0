/** Builds the package into dist: `npm run build`. */
import { build as bundleWith, type Plugin } from 'esbuild'
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { optionsJSONSchema } from './options.ts'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))

/** The entries with modules that require modules of Node: the SDK's `cross-spawn`, and `pg`. */
const WITH_REQUIRE = new Set([
  'timeline-command',
  'postgres-fleet',
  'fleet-command',
  'migrate',
  'worker-command',
])
const REQUIRE = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`

/** The package's entries: those for the host, for other plugins and scripts, and for few users. */
const ENTRIES = {
  server: 'server.ts',
  manager: 'library.ts',
  panes: 'panes.ts',
  'orphan-reaper': 'work/command/orphan-reaper.ts',
  'event-stream': 'event-stream.ts',
  'request-answers': 'request-answers.ts',
  'after-restart': 'launch/after-restart.ts',
  budgets: 'launch/budgets.ts',
  followers: 'launch/followers.ts',
  'fleet-runs': 'fleet/launcher/fleet-runs.ts',
  'recover-agent': 'work/agent/recover-agent.ts',
  'worktree-runs': 'worktree/worktree-runs.ts',
  'machine-runs': 'machines/machine-runs.ts',
  'required-permissions': 'work/command/required-permissions/required-permissions.ts',
  'recover-command': 'work/command/recover-command.ts',
  'remove-old': 'work/command/remove-old.ts',
  'output-match': 'work/command/output-match.ts',
  monitor: 'work/command/monitor/monitor.ts',
  answers: 'tools/render/answers.ts',
  cancelling: 'tools/cancelling.ts',
  'task-calls': 'tools/task-calls.ts',
  'unknown-task': 'tools/unknown-task.ts',
  forks: 'parent/forks.ts',
  arguments: 'tools/arguments.ts',
  'timeline-file': 'session-timeline/timeline-file.ts',
  'timeline-command': 'session-timeline/timeline-command.ts',
  'postgres-fleet': 'fleet/postgres/postgres-fleet.ts',
  'fleet-command': 'fleet/postgres/fleet-command.ts',
  migrate: 'fleet/postgres/migrate.ts',
  command: 'command.ts',
  mcp: 'mcp/mcp.ts',
  'worker-command': 'fleet/worker/worker-command.ts',
}

/** Leaves dynamic imports in their own files beside the entries. */
export const apart: Plugin = {
  name: 'apart',
  setup(bundler) {
    bundler.onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path: `./${basename(path, '.ts')}.js`, external: true } : undefined,
    )
  },
}

/** Leaves out the meanings of options: esbuild drops the arguments of an empty function. */
const noMeanings: Plugin = {
  name: 'no-meanings',
  setup(bundler) {
    const namespace = 'no-meanings'
    bundler.onResolve({ filter: /\/option-meaning\.ts$/ }, ({ path }) => ({ path, namespace }))
    bundler.onLoad({ filter: /.*/, namespace }, () => ({ contents: 'export function meaning() {}' }))
  },
}

/**
 * Replaces what the SDK of MCP takes from Node. Its validator of JSON schemas is a quarter of the bundle, and is built at
 * the start; the smaller one checks the answers of users alike. An import of `node:process` reads each property of the
 * process, some of which take milliseconds.
 */
const lightSDK: Plugin = {
  name: 'light-sdk',
  setup(bundler) {
    const namespace = 'light-sdk'
    bundler.onResolve({ filter: /^@modelcontextprotocol\/server\/_shims$/ }, ({ path }) => ({
      path,
      namespace,
    }))
    bundler.onLoad({ filter: /.*/, namespace }, () => ({
      contents: `
        export const process = globalThis.process
        export { CfWorkerJsonSchemaValidator as DefaultJsonSchemaValidator } from '@modelcontextprotocol/server/validators/cf-worker'`,
      resolveDir: root,
    }))
  },
}

/**
 * Replaces the event emitter that p-queue extends and the timer of its option `timeout`, together as large as a room of ours:
 * nobody listens to its events, and no task of ours has that option.
 */
const lightQueue: Plugin = {
  name: 'light-queue',
  setup(bundler) {
    const namespace = 'light-queue'
    bundler.onResolve({ filter: /^(?:eventemitter3|p-timeout)$/ }, ({ path }) => ({ path, namespace }))
    bundler.onLoad({ filter: /.*/, namespace }, ({ path }) => ({
      contents:
        path === 'p-timeout'
          ? "export class TimeoutError extends Error {}\nexport default () => { throw new Error('left out') }"
          : 'export class EventEmitter { on() {} emit() {} }',
    }))
  },
}

/**
 * Bundles the entries (name → file in src) into `outdir` and returns the path of the first one's bundle. Each
 * entry is one file with its dependencies, because the host resolves none for a plugin from a path (contract
 * 13.4). The parser of command lines is a file beside it.
 *
 * @param plugins of esbuild, which run before ours
 */
export async function bundle(
  outdir: string,
  entries: Record<string, string> = ENTRIES,
  plugins: readonly Plugin[] = [],
): Promise<string> {
  const bundleEntries = (names: readonly string[], banner = ''): Promise<unknown> =>
    bundleWith({
      entryPoints: names.map((out) => ({ in: join(root, 'src', entries[out] ?? ''), out })),
      outdir,
      banner: { js: banner },
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      // A server reads and parses it at each start, so its size has a ceiling (tests/unit/bundle.test.ts).
      minify: true,
      charset: 'utf8',
      // `pg` loads it if it is installed.
      external: ['pg-native'],
      plugins: [...plugins, apart, noMeanings, lightSDK, lightQueue],
      logLevel: 'warning',
    })
  const names = Object.keys(entries)
  await bundleEntries(names.filter((name) => !WITH_REQUIRE.has(name)))
  await bundleEntries(
    names.filter((name) => WITH_REQUIRE.has(name)),
    REQUIRE,
  )
  await addParser(join(outdir, 'tree-sitter'))
  await bundlePageScript(join(outdir, 'timeline-page.js'))
  return join(outdir, `${Object.keys(entries)[0]}.js`)
}

/** Builds the script of the timeline's page (`src/session-timeline/browser`), which the page contains. */
export async function bundlePageScript(outfile: string): Promise<void> {
  await bundleWith({
    entryPoints: [join(root, 'src/session-timeline/browser/page-script.ts')],
    outfile,
    bundle: true,
    platform: 'browser',
    format: 'iife',
    // The page's style needs browsers of 2024.
    target: 'es2023',
    minify: true,
    charset: 'utf8',
    logLevel: 'warning',
  })
}

/** Adds the parser of command lines (`src/work/command/required-permissions/command-line.ts`), loaded for the first line. */
async function addParser(outdir: string): Promise<void> {
  const script = require.resolve('@vscode/tree-sitter-wasm')
  await bundleWith({
    entryPoints: [script],
    outfile: join(outdir, 'tree-sitter.cjs'),
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    minify: true,
    logLevel: 'warning',
  })
  for (const file of ['tree-sitter.wasm', 'tree-sitter-bash.wasm'])
    copyFileSync(join(dirname(script), file), join(outdir, file))
  copyFileSync(join(dirname(script), '..', 'LICENSE'), join(outdir, 'LICENSE'))
}

/** Builds the whole content of `dist`. */
export async function build(outdir: string): Promise<void> {
  await bundle(outdir)
  // Import it only here, because most tests need the server part alone, and a compiler loads slowly.
  const { bundleTui } = await import('./build-tui.ts')
  await bundleTui(outdir)
  const { declare } = await import('./declarations.ts')
  declare(join(outdir, 'types'))
  writeFileSync(join(outdir, 'options.schema.json'), `${JSON.stringify(optionsJSONSchema(), undefined, 2)}\n`)
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const dist = join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  await build(dist)
}
