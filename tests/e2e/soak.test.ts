import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildPlugin } from '../harness/plugin.ts'
import { LIMIT, startSoak, type Soak } from '../harness/soak.ts'

/** The time limit for a machine with one core or less. */
const TIME_LIMIT_MS = 240_000
let soak: Soak

beforeAll(async () => {
  soak = await startSoak({ plugin: await buildPlugin(), config: { snapshot: false } })
})
afterAll(() => soak.close())

test(
  'forty tasks of four parents fill a limit of twenty, never exceed it, and are reported once each',
  async () => {
    const lap = await soak.run(2 * LIMIT)
    expect(lap.faults).toEqual([])
    expect(lap).toMatchObject({ told: 2 * LIMIT, peak: LIMIT })
  },
  TIME_LIMIT_MS,
)
