import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'
import type { Row } from './rows.ts'
import { ONE_AT_A_TIME, Scene, SESSION_CALLS } from './scene.ts'

/** Time for all rows of a fault to reach their moments on a busy machine. */
const TOGETHER_MS = 180_000

function onOneStage(env: Readonly<Record<string, string>> = {}): () => Stage {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage({
      options: {
        concurrency: { models: { [ONE_AT_A_TIME.model]: 1 } },
        pollMs: 1000,
        startTimeoutMs: 20_000,
        // Longer than a flood of matching lines takes on a busy machine.
        notify: { monitorGapMs: 600_000 },
        budget: { session: { toolCalls: SESSION_CALLS } },
      },
      env,
      config: { permission: { bash: { 'rm *': 'ask' } } },
    })
  })
  afterAll(() => stage.close())
  return () => stage
}

/**
 * Plays rows of the table one after another, each as a test.
 *
 * @param env more variables of OpenCode's environment
 */
export function playAll(rows: readonly Row[], env?: Readonly<Record<string, string>>): void {
  const stage = onOneStage(env)
  for (const row of rows) {
    test(`${row.fault}, ${row.moment}: reported ${row.expected.times} times`, async () => {
      const scene = await Scene.create(stage(), row.child?.())
      await row.reach(scene)
      await row.bring(scene)
      await row.after(scene)
      expect(await scene.see()).toEqual(row.expected)
    })
  }
}

/** Plays rows whose fault hits the whole process: each row reaches its moment, then one fault hits all. */
export function playTogether(rows: readonly Row[]): void {
  const stage = onOneStage()
  const lasting = rows.filter(({ isFleeting }) => !isFleeting)
  const faults = [...new Set(lasting.map(({ fault }) => fault))]
  playGroups(stage, [
    ...faults.map((fault) => lasting.filter((row) => row.fault === fault)),
    ...rows.filter(({ isFleeting }) => isFleeting).map((row) => [row]),
  ])
}

function playGroups(stage: () => Stage, groups: readonly (readonly Row[])[]): void {
  for (const group of groups) {
    describe('together', () => {
      const scenes = new Map<Row, Scene>()
      beforeAll(async () => {
        for (const row of group) {
          const scene = await Scene.create(stage(), row.child?.())
          scenes.set(row, scene)
          await row.reach(scene)
        }
        const [first] = scenes.values()
        if (first) await group[0]?.bring(first)
      }, TOGETHER_MS)
      for (const row of group) {
        test(`${row.fault}, ${row.moment}: reported ${row.expected.times} times`, async () => {
          expect(await scenes.get(row)?.see()).toEqual(row.expected)
        })
      }
    })
  }
}
