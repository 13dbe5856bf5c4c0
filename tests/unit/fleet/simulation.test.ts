/** Small forms of `npm run simulate`. */
import { expect, test } from 'vitest'
import { simulate } from '../../simulate/simulation.ts'
import { INVARIANTS } from '../../simulate/verdict.ts'

test.each([1, 2, 3])(
  'a fleet with faults tells each task once, prompts no agent twice, and keeps its limits (seed %i)',
  async (seed) => {
    const { checks, ends, figures, limits, most, violation } = await simulate({
      seed,
      workers: 20,
      tasks: 600,
      faults: 1,
    })
    expect(violation).toBeUndefined()
    expect(figures.told).toBe(600)
    expect([...checks.keys()].toSorted()).toEqual(INVARIANTS.toSorted())
    // The faults have happened, and the limits were reached.
    expect(figures.kills).toBeGreaterThan(5)
    expect(figures.resumed).toBeGreaterThan(5)
    expect(ends.size).toBeGreaterThan(5)
    expect(most.get('total')).toBe(limits.total)
  },
)
