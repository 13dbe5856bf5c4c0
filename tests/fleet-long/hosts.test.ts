/** Many tasks over three hosts under nested limits. The long form is `npm run bench:fleet`. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { watchLimits } from '../harness/fleet-database.ts'
import { startFleet, type FleetStage } from '../harness/fleet-hosts.ts'
import { runTasks } from '../harness/fleet-tasks.ts'

const LIMITS = { total: 5, acme: 2 }

let fleet: FleetStage

beforeAll(async () => {
  const limits = [
    { scope: 'total', key: '', most: LIMITS.total },
    { scope: 'provider', key: 'acme', most: LIMITS.acme },
  ] as const
  fleet = await startFleet(['one', 'two', 'three'], { slots: 2, limits })
})
afterAll(() => fleet.close())

test('18 tasks at three hosts are each told once, with their branches, and never more at work than the limits', async () => {
  const highest = await watchLimits(fleet.database)
  const wanted = { count: 18, thinkMs: 1000, launch: { where: 'any' }, timeoutMs: 100_000 }
  const { peak } = await runTasks(fleet, wanted)
  expect(await highest()).toEqual({ ...LIMITS, workers: 3 })
  expect(peak.total).toBeLessThanOrEqual(LIMITS.total)
  expect(peak.acme).toBeLessThanOrEqual(LIMITS.acme)
  expect(peak.total).toBeGreaterThan(1)
}, 150_000)
