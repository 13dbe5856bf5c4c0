/**
 * Random histories: two sessions with their agents, a user who writes, interrupts, undoes, archives and deletes,
 * and a host that is slow, fails, loses events and ends. In the end each run has ended once, the parent's model
 * has received each end once, unless the parent had read or caused it, and nothing is left behind. For a manager in another
 * process, the server ends or cannot be reached instead of losing events.
 * `npm run fuzz` plays more of them, with new seeds.
 */
import { expect, test } from 'vitest'
import { describeFailure, playHistories } from './histories/property.ts'

const SEED = Number(process.env['HISTORIES_SEED'] ?? 20261121)
const HISTORIES = Number(process.env['HISTORIES'] ?? 60)

for (const where of ['inside', 'outside'] as const) {
  test(`in random histories ${where} of OpenCode each run ends once, and each end is reported once`, async () => {
    const result = await playHistories(SEED, HISTORIES, where)
    expect(result.failed ? describeFailure(result) : 'passed').toBe('passed')
  }, 600_000)
}
