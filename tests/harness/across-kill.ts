/** Tests whose first halves run before one `kill -9` of OpenCode: each start of the server costs seconds of CPU time. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Stage } from './stage.ts'

/** Runs what comes before the kill, and resolves with what comes after it. */
type FirstHalf = () => Promise<() => Promise<void>>

/** Registers the tests by name: all first halves run in this order, then OpenCode is killed and started again. */
export function acrossKill(stage: () => Stage, tests: Readonly<Record<string, FirstHalf>>): void {
  describe('across a kill of OpenCode', () => {
    const second = new Map<string, () => Promise<void>>()
    beforeAll(async () => {
      for (const [name, first] of Object.entries(tests)) second.set(name, await first())
      await stage().restart('SIGKILL')
    })
    test.each(Object.keys(tests))('%s', async (name) => {
      await expect(second.get(name)?.()).resolves.toBeUndefined()
    })
  })
}
