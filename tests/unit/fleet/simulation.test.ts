/** Small forms of `npm run simulate`. */
import { expect, test } from 'vitest'
import { simulate } from '../../simulate/simulation.ts'

test.each([1, 2, 3])(
  'a fleet with faults tells each task once, prompts no agent twice, and keeps its limits (seed %i)',
  async (seed) => {
    const { ends, figures, limits, most, violation } = await simulate({ seed, workers: 20, tasks: 600 })
    expect(violation).toBeUndefined()
    expect(figures.told).toBe(600)
    // The faults have happened, and the limits were reached.
    expect(figures.kills).toBeGreaterThan(5)
    expect(figures.resumed).toBeGreaterThan(5)
    expect(ends.size).toBeGreaterThan(2)
    expect(most.get('total')).toBe(limits.total)
  },
)
