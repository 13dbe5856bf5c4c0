import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage.close())

test('five children that end within 0.2 s cost their parent at most two turns, and every result is told', async () => {
  const names = ['alpha', 'beta', 'gamma', 'delta', 'epsilon']
  let arrived = 0
  let open = (): void => {}
  const all = new Promise<void>((resolve) => {
    open = resolve
  })
  const parent = await stage.parent(async ({ messages }) => {
    const mine = arrived++
    if (arrived === names.length) open()
    await all
    await sleep(mine * 50)
    return { text: `result of ${messages.at(-1)?.content}` }
  })
  await parent.launch(...names)
  for (const name of names) await parent.waitForNotice(`result of ${name}`)
  await parent.quiet()
  const ends = parent.childRequests.map(({ endedAt }) => endedAt ?? Number.NaN)
  expect(Math.max(...ends) - Math.min(...ends)).toBeGreaterThan(150)
  expect(parent.noticeTurns.length).toBeLessThanOrEqual(2)
  for (const name of names) expect(parent.noticeText.split(`result of ${name}<`)).toHaveLength(2)
})
