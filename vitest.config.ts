import { defineConfig } from 'vitest/config'

const fast = ['unit', 'races'].map((name) => ({ test: { name, include: [`tests/${name}/**/*.test.ts`] } }))

// Each file runs a real OpenCode, which takes a core for the second in which it starts.
const onTheRealBinary = ['contract', 'e2e'].map((name) => ({
  test: {
    name,
    include: [`tests/${name}/**/*.test.ts`],
    globalSetup: ['tests/harness/temporary.ts'],
    maxWorkers: 2,
    sequence: { groupOrder: 1 },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
}))

export default defineConfig({ test: { projects: [...fast, ...onTheRealBinary] } })
