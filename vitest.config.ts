import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The slowest files: they begin first, so that none of them is alone at the end. */
const HEAVY = [
  'run-background',
  'faults/calls',
  'tui/tasks',
  'contract/real',
  'faults/process',
  'e2e/tmux',
  'e2e/soak',
  'e2e/run.',
  'e2e/restart',
  'e2e/worktree',
  'tui/restart',
  'e2e/newuser',
  'e2e/interrupt',
]

class HeavyFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = HEAVY.findIndex((part) => moduleId.includes(part))
      return index === -1 ? HEAVY.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

const leaks = { setupFiles: ['tests/harness/leaks.ts'] }

/**
 * The files of a project share the processes and modules of its workers: to start a process and import all modules takes 0.3 s
 * of CPU time for each file. What a file leaves in a process fails it (`leaks.ts`).
 */
const shared = { ...leaks, isolate: false }

const fast = ['unit', 'races'].map((name) => ({
  test: {
    ...shared,
    // Some race tests measure the memory of their process.
    isolate: name === 'races',
    name,
    include: [`tests/${name}/**/*.test.ts`],
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
}))

/** How long `expect.poll` waits for what is to come of real processes: a busy machine takes more than its 1 s. */
const patient = { poll: { timeout: 30_000 } }

/**
 * For OpenCode: a server lives for seconds here, and the engine's last compiler (FTL) takes a sixth of its CPU time for code
 * that is not run often enough to gain from that. What the code does is the same.
 */
const SHORT_LIVED = { BUN_JSC_useFTLJIT: '0' }

/**
 * Tests with real processes. All of them wait for what they mean, so they share the machine: three at a time on two cores,
 * because they wait for a third of their time.
 */
const real = [
  // Their helpers register hooks when a file imports them.
  { name: 'process', include: ['tests/command/**/*.test.ts'], isolate: true },
  { name: 'worktree', include: ['tests/worktree/**/*.test.ts'], isolate: true },
  { name: 'contract', include: ['tests/contract/**/*.test.ts'] },
  { name: 'mcp', include: ['tests/mcp/**/*.test.ts'], globalSetup: ['tests/harness/plugin.ts'] },
  { name: 'e2e', include: ['tests/{e2e,faults}/**/*.test.ts'], globalSetup: ['tests/harness/plugin.ts'] },
  { name: 'tui', include: ['tests/tui/**/*.test.ts'], globalSetup: ['tests/harness/packed.ts'] },
].map(({ globalSetup = [], ...project }) => ({
  test: {
    ...shared,
    ...project,
    env: SHORT_LIVED,
    globalSetup: ['tests/harness/temporary.ts', ...globalSetup],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: patient,
    maxWorkers: 3,
    sequence: { groupOrder: 1 },
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

/** On a real PostgreSQL, which `npm test` does not need: `npm run test:fleet`. */
const fleet = {
  test: {
    ...shared,
    name: 'fleet',
    include: ['tests/fleet/**/*.test.ts'],
    env: SHORT_LIVED,
    globalSetup: ['tests/harness/temporary.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: patient,
    maxWorkers: 2,
    sequence: { groupOrder: 3 },
  },
}

export default defineConfig({
  test: { projects: [...fast, ...real, browser, fleet], sequence: { sequencer: HeavyFirst } },
})
