import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage.close())

test.each([
  { count: 5, spreadMs: 50 },
  { count: 10, spreadMs: 0 },
])(
  '$count children that end together cost their parent at most two turns, and every result is told',
  async ({ count, spreadMs }) => {
    const names = Array.from({ length: count }, (_, index) => `task number ${index}`)
    let arrived = 0
    let open = (): void => {}
    const all = new Promise<void>((resolve) => {
      open = resolve
    })
    const parent = await stage.parent(async ({ messages }) => {
      const mine = arrived++
      if (arrived === names.length) open()
      await all
      await sleep(mine * spreadMs)
      return { text: `result of ${messages.at(-1)?.content}` }
    })
    await parent.launch(...names)
    for (const name of names) await parent.waitForNotice(`result of ${name}`)
    await parent.quiet()
    const ends = parent.childRequests.map(({ endedAt }) => endedAt ?? Number.NaN)
    expect(Math.max(...ends) - Math.min(...ends)).toBeGreaterThanOrEqual(0.9 * spreadMs * (count - 1))
    expect(parent.noticeTurns.length).toBeLessThanOrEqual(2)
    for (const name of names) expect(parent.noticeText.split(`result of ${name}<`)).toHaveLength(2)
  },
)
