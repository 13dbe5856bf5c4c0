import { afterAll, expect, test } from 'vitest'
import { countSteps } from '../harness/steps.ts'

const steps = countSteps()
afterAll(() => steps.stop())

test(
  'ten times as many tasks take ten times as many steps and calls, and no more run than may',
  { timeout: 120_000 },
  async () => {
    // Only what is loaded from now on is counted.
    const { createFakeScale } = await import('../harness/fake-scale.ts')
    const costOf = async (count: number): Promise<{ steps: number; calls: number; cpu: number }> => {
      const scale = createFakeScale({ parents: 10, total: 100 })
      steps.take()
      const before = process.cpuUsage()
      const { told, calls, peak } = await scale.run(count)
      const { user, system } = process.cpuUsage(before)
      expect({ told, peak }).toEqual({ told: count, peak: 100 })
      return { steps: steps.take() / count, calls: calls / count, cpu: (user + system) / count }
    }
    const few = await costOf(300)
    const many = await costOf(3000)
    expect(few.steps).toBeGreaterThan(100)
    expect(many.steps).toBeLessThanOrEqual(1.1 * few.steps)
    expect(many.calls).toBeLessThanOrEqual(1.1 * few.calls)
    // What one step of ours has a built-in do, as to copy or to sort all tasks, shows in the time alone.
    expect(many.cpu).toBeLessThanOrEqual(1.5 * few.cpu)
  },
)
