import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'
import type { Row } from './rows.ts'
import { Scene } from './scene.ts'

/** Plays rows of the table, each as a test. */
export function playAll(rows: readonly Row[]): void {
  let stage: Stage

  beforeAll(async () => {
    stage = await startStage({
      options: { concurrency: { total: 2 }, pollMs: 1000, startTimeoutMs: 20_000 },
      config: { permission: { bash: { 'rm *': 'ask' } } },
    })
  })
  afterAll(() => stage.close())

  for (const { fault, moment, expected, child, play } of rows) {
    const { told, times } = expected
    test(`${fault}, ${moment}: ${told}, told ${times} times`, async () => {
      const scene = await Scene.create(stage, child?.())
      await play(scene)
      expect(await scene.see()).toEqual(expected)
    })
  }
}
