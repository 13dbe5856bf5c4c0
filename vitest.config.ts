import { defineConfig } from 'vitest/config'

const fast = ['unit', 'races'].map((name) => ({ test: { name, include: [`tests/${name}/**/*.test.ts`] } }))

/** How long `expect.poll` waits for what is to come of real processes: a busy machine takes more than its 1 s. */
const patient = { poll: { timeout: 10_000 } }

/** Tests with real processes, which mostly wait for them. */
const processes = {
  test: {
    name: 'process',
    include: ['tests/command/**/*.test.ts'],
    globalSetup: ['tests/harness/temporary.ts'],
    testTimeout: 20_000,
    expect: patient,
    maxWorkers: 4,
    sequence: { groupOrder: 3 },
  },
}

/** Tests that need the machine to themselves: they count turns of what must happen within 0.2 s. */
const ALONE = 'tests/e2e/burst.test.ts'

// Each file runs a real OpenCode, which takes a core for the second in which it starts.
const onTheRealBinary = [
  { name: 'contract', include: ['tests/contract/**/*.test.ts'], maxWorkers: 2, sequence: { groupOrder: 1 } },
  {
    name: 'e2e',
    include: ['tests/{e2e,faults}/**/*.test.ts'],
    exclude: [ALONE],
    maxWorkers: 2,
    sequence: { groupOrder: 1 },
  },
  { name: 'alone', include: [ALONE], maxWorkers: 1, sequence: { groupOrder: 2 } },
].map((project) => ({
  test: {
    ...project,
    globalSetup: ['tests/harness/temporary.ts', 'tests/harness/plugin.ts'],
    testTimeout: 60_000,
    expect: patient,
    hookTimeout: 60_000,
  },
}))

/** Tests before a terminal: they read a screen, which comes late where the machine is busy. */
const tui = {
  test: {
    name: 'tui',
    include: ['tests/tui/**/*.test.ts'],
    globalSetup: ['tests/harness/temporary.ts', 'tests/harness/packed.ts'],
    testTimeout: 120_000,
    expect: patient,
    hookTimeout: 120_000,
    maxWorkers: 1,
    sequence: { groupOrder: 4 },
  },
}

export default defineConfig({ test: { projects: [...fast, processes, ...onTheRealBinary, tui] } })
