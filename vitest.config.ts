import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { WAIT_LIMIT_MS } from './tests/harness/spy.ts'

/** The slowest files: they begin first, so that none of them is alone at the end. */
const HEAVY = [
  'worktree-restart',
  'contract/real',
  'e2e/machines.',
  'fleet-worker',
  'tui/own-server',
  'newuser-install',
  'run-background',
  'command-rows',
  'e2e/worktree.',
  'faults/process',
  'library-rows',
  'reports',
  'faults/calls',
  'e2e/run.',
  'e2e/monitor',
  'newuser-rows',
  'after-restart',
  'tui/view-hint',
  'tui/restart',
  'tui/worktree',
  'e2e/restart',
  'e2e/tmux',
  'e2e/outside',
  'races/histories',
  'costs/',
]

/** Where a file is in `HEAVY`; at its end if it is not there. */
function rank({ moduleId }: TestSpecification): number {
  const index = HEAVY.findIndex((part) => moduleId.includes(part))
  return index === -1 ? HEAVY.length : index
}

class HeavyFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }

  /** Deals the files to the shards back and forth, the heavy ones first, so that each takes about as long. */
  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { index, count } = this.ctx.config.shard ?? { index: 1, count: 1 }
    const isMine = (_: TestSpecification, at: number): boolean => {
      const dealt = at % (2 * count)
      return index === (dealt < count ? dealt + 1 : 2 * count - dealt)
    }
    return files.toSorted((a, b) => rank(a) - rank(b) || a.moduleId.localeCompare(b.moduleId)).filter(isMine)
  }
}

const leaks = { setupFiles: ['tests/harness/leaks.ts'] }

/**
 * The files of a project share the processes and modules of its workers: to start a process and import all modules takes 0.3 s
 * of CPU time for each file. What a file leaves in a process fails it (`leaks.ts`).
 */
const shared = { ...leaks, isolate: false }

/**
 * Files of all projects share the machine, three at a time on two cores: those with real processes wait for what they mean, a third
 * of their time.
 */
const together = { maxWorkers: 3, sequence: { groupOrder: 1 } }

const e2e = (...names: readonly string[]): string[] => names.map((name) => `tests/e2e/${name}.test.ts`)

/** Tests of worktrees on the real OpenCode: `npm run test:worktree`. */
const WORKTREES = e2e('worktree*')
/** Tests of agents at another OpenCode, and of what guards a fleet: `npm run test:fleet`. */
const PLACES = [
  ...e2e('machines', 'machines-host', 'fleet', 'fleet-worker', 'worker'),
  'tests/unit/machines/remote-tree.test.ts',
  'tests/unit/fleet/guards.test.ts',
]
/** Tests of shell commands on the real OpenCode: `npm run test:commands`. */
const COMMANDS = [
  ...e2e('bash-lines', 'command*', 'monitor', 'run-background'),
  'tests/faults/monitor.test.ts',
]
/** Tests of what runs outside of OpenCode: `npm run test:mcp`. */
const OUTSIDE = ['tests/mcp/**/*.test.ts', ...e2e('outside')]
/** Tests in a terminal: `npm run test:tui`. */
const TERMINAL = ['tests/tui/**/*.test.ts', ...e2e('tmux')]
/** Faults of OpenCode, of processes and of users, what people ran into, and many tasks: `npm run test:faults`. */
const FAULTS = ['tests/faults/**/*.test.ts', ...e2e('library-rows', 'newuser-*', 'reports', 'soak', 'twenty')]

/** `expect.poll` waits as long as the waits of `tests/harness`: its own 1 s is too short on a busy machine. */
const patient = { poll: { timeout: WAIT_LIMIT_MS } }

const fast = [
  { name: 'unit', include: ['tests/unit/**/*.test.ts'], exclude: PLACES },
  { name: 'races', include: ['tests/races/**/*.test.ts'] },
  // These measure the memory of their process, or count the steps of the modules that they load.
  { name: 'costs', include: ['tests/costs/**/*.test.ts'], isolate: true },
].map((project) => ({
  test: {
    ...shared,
    ...project,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    expect: patient,
    ...together,
  },
}))

/** The memory of a machine on which the servers of the tests run without a garbage collector, in bytes. */
const ROOMY = 15e9

/**
 * Settings of the JavaScript engine of OpenCode, whose servers live for seconds here. Its last compiler (FTL) takes a sixth of
 * the CPU time for code that is not run often enough to gain from that. Its garbage collector takes a third; a server grows
 * to 3 GB without it, so that smaller machines keep it. What the code does is the same.
 */
const SHORT_LIVED = { BUN_JSC_useFTLJIT: '0', ...(totalmem() > ROOMY && { BUN_JSC_useGC: '0' }) }

const PLUGIN = 'tests/harness/plugin.ts'

/** Tests with real processes. */
const real = [
  { name: 'process', include: ['tests/command/**/*.test.ts'] },
  // Helpers of these register hooks when a file imports them.
  {
    name: 'worktree',
    include: ['tests/worktree/**/*.test.ts', ...WORKTREES],
    isolate: true,
    globalSetup: [PLUGIN],
  },
  { name: 'contract', include: ['tests/contract/**/*.test.ts'] },
  { name: 'mcp', include: OUTSIDE, globalSetup: [PLUGIN] },
  {
    name: 'e2e',
    include: ['tests/e2e/**/*.test.ts'],
    exclude: [...WORKTREES, ...PLACES, ...OUTSIDE, ...COMMANDS, ...TERMINAL, ...FAULTS],
    globalSetup: [PLUGIN],
  },
  { name: 'commands', include: COMMANDS, globalSetup: [PLUGIN] },
  { name: 'faults', include: FAULTS, exclude: COMMANDS, globalSetup: [PLUGIN] },
  // Each test has several servers: three files at once took longer.
  {
    name: 'machines',
    include: PLACES,
    globalSetup: [PLUGIN],
    maxWorkers: 2,
    sequence: { groupOrder: 3 },
  },
  { name: 'tui', include: TERMINAL, globalSetup: [PLUGIN, 'tests/harness/packed.ts'] },
  // On a real PostgreSQL, in namespaces of the network.
  {
    name: 'fleet',
    include: ['tests/fleet/**/*.test.ts'],
    globalSetup: [PLUGIN],
    maxWorkers: 2,
    sequence: { groupOrder: 3 },
  },
  // Many hosts, slow lines and long cuts: `npm run test:fleet-long`.
  {
    name: 'fleet-long',
    include: ['tests/fleet-long/**/*.test.ts'],
    globalSetup: [PLUGIN],
    maxWorkers: 2,
    sequence: { groupOrder: 3 },
  },
].map(({ globalSetup = [], ...project }) => ({
  test: {
    ...shared,
    env: SHORT_LIVED,
    globalSetup: ['tests/harness/temporary.ts', ...globalSetup],
    // A restart of OpenCode takes half a minute on a busy machine, and a test has up to four. A wait fails after `WAIT_LIMIT_MS`.
    testTimeout: 300_000,
    hookTimeout: 120_000,
    expect: patient,
    ...together,
    ...project,
  },
}))

/** In Chromium, which `npm test` does not need: `npm run test:browser`. */
const browser = {
  test: {
    ...shared,
    name: 'browser',
    include: ['tests/browser/**/*.test.ts'],
    globalSetup: ['tests/harness/temporary.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: patient,
    maxWorkers: 2,
    sequence: { groupOrder: 2 },
  },
}

const fromHere = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Vitest knows a translated module by its path and text; what else decides its translation names the directory. */
const others = ['tsconfig.json', 'package-lock.json'].map((path) => readFileSync(fromHere(path)))
const translated = fromHere(
  `node_modules/.cache/vitest-${createHash('sha1').update(Buffer.concat(others)).digest('hex')}`,
)

export default defineConfig({
  test: {
    projects: [...fast, ...real, browser],
    sequence: { sequencer: HeavyFirst },
    // Modules are kept translated between runs: to translate them takes a sixth of `npm run test:fast`.
    experimental: { fsModuleCache: true, fsModuleCachePath: translated },
  },
})
