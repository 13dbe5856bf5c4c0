/**
 * Histories that nobody wrote: two sessions with their agents, a user who writes, interrupts, undoes, archives and deletes,
 * a host that is slow, fails, loses events and ends. Whatever happened, in the end each run has ended once, each end
 * was told to its parent's model once, unless the parent had read it or brought it about, and nothing is left behind.
 * `npm run fuzz` plays more of them, with new seeds.
 */
import { expect, test } from 'vitest'
import { describeFailure, playHistories } from './histories/property.ts'

const SEED = 20261121
const HISTORIES = 300

test('whatever happens in whatever order, each run ends once, and each end is told once', async () => {
  const result = await playHistories(SEED, HISTORIES)
  expect(result.failed ? describeFailure(result) : 'passed').toBe('passed')
}, 600_000)
