/**
 * Histories that nobody wrote: two sessions with their agents, a user who writes, interrupts, undoes, archives and deletes,
 * a host that is slow, fails, loses events and ends. Whatever happened, in the end each run has ended once, each end
 * was told to its parent's model once, unless the parent had read it or brought it about, and nothing is left behind.
 */
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { wrongIn } from './histories/aftermath.ts'
import { Play } from './histories/play.ts'
import { history, type Step } from './histories/steps.ts'

const RUNS = Number(process.env['HISTORIES'] ?? 300)
const SEED = Number(process.env['SEED'] ?? 20261121)

const BEGINNING: readonly Step[] = [
  { type: 'launch', parent: 0, model: undefined },
  { type: 'launch', parent: 0, model: undefined },
  { type: 'launch', parent: 1, model: undefined },
  { type: 'wait', ms: 60 },
]

test('whatever happens in whatever order, each run ends once, each end is told once, and nothing is left', async () => {
  // The quota's jitter: a seed must give the same histories again.
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  await fc.assert(
    fc.asyncProperty(history, async (next) => {
      const play = new Play(next)
      for (const step of [...BEGINNING, ...next.steps]) await play.take(step)
      expect(await wrongIn(play)).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
}, 3_600_000)
