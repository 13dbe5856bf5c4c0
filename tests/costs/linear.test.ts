import { afterAll, expect, test } from 'vitest'
import { countSteps } from '../harness/steps.ts'

const steps = countSteps()
afterAll(() => steps.stop())

const ROUNDS = 2

/** The cost of one task; `cpu` in microseconds. */
interface Cost {
  readonly steps: number
  readonly calls: number
  readonly cpu: number
}

test(
  'ten times as many tasks take ten times as many steps and calls, and the limit holds',
  { timeout: 120_000 },
  async () => {
    // `countSteps` counts only modules that are loaded from here on.
    const { createFakeScale } = await import('../harness/fake-scale.ts')
    const costOf = async (count: number): Promise<Cost> => {
      const scale = createFakeScale({ parents: 10, total: 100 })
      steps.take()
      const before = process.cpuUsage()
      const { told, calls, peak } = await scale.run(count)
      const { user, system } = process.cpuUsage(before)
      expect({ told, peak }).toEqual({ told: count, peak: 100 })
      return { steps: steps.take() / count, calls: calls / count, cpu: (user + system) / count }
    }
    const measured: { few: Cost; many: Cost }[] = []
    for (let round = 0; round < ROUNDS; round += 1)
      measured.push({ few: await costOf(100), many: await costOf(1000) })
    for (const { few, many } of measured) {
      expect(few.steps).toBeGreaterThan(100)
      expect(many.steps).toBeLessThanOrEqual(1.1 * few.steps)
      expect(many.calls).toBeLessThanOrEqual(1.1 * few.calls)
    }
    // Work inside of built-ins, such as copying or sorting all tasks, shows only in the CPU time. What else the machine does only
    // adds to that (seen: half as much again), so that the least of several measurements is the cost.
    const least = (size: 'few' | 'many'): number => Math.min(...measured.map((round) => round[size].cpu))
    expect(least('many')).toBeLessThanOrEqual(1.5 * least('few'))
  },
)

test('after a restart, a reported task takes as many steps in a long session as in a short one', async () => {
  const { createFakeStage } = await import('../harness/fake-stage.ts')
  const costOf = async (count: number): Promise<number> => {
    const stage = createFakeStage()
    for (let index = 0; index < count; index += 1) {
      await stage.launch(`task ${index}.`)
      stage.answer(`task ${index}.`)
      await stage.clock.advance(1000)
    }
    expect(stage.noticeTurns()).toHaveLength(count)
    stage.crash()
    await stage.clock.advance(1000)
    steps.take()
    stage.host.userPrompt(stage.parentID, 'hello again')
    await stage.clock.advance(1000)
    expect(stage.manager.list(stage.parentID)).toHaveLength(count)
    return steps.take() / count
  }
  const short = await costOf(30)
  const long = await costOf(240)
  expect(short).toBeGreaterThan(10)
  expect(long).toBeLessThanOrEqual(1.1 * short)
})
