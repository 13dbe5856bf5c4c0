import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'
import { OUTSIDE_ROWS } from './outside-rows.ts'
import { OutsideScene, PASSWORD } from './outside-scene.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ env: { OPENCODE_SERVER_PASSWORD: PASSWORD } })
})
afterAll(() => stage.close())

for (const { fault, moment, play, expected } of OUTSIDE_ROWS) {
  test(`outside: ${fault}, ${moment}: reported ${expected.times} times`, async () => {
    const scene = await OutsideScene.create(stage)
    try {
      await play(scene)
      expect(await scene.see()).toEqual(expected)
    } finally {
      await scene.close()
    }
  })
}
