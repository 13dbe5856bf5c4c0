import { expect, test } from 'vitest'
import { drawn, usePages } from './open-page.ts'
import { sampleTimeline } from './sample.ts'
import type { Page } from 'playwright-core'

const open = usePages()

interface Changes {
  /** Nodes, of which each counts once. */
  readonly changed: number
  /** Elements. */
  readonly added: number
  readonly nodes: number
  readonly frames: readonly number[]
}

/** Does something, and resolves with how many nodes of the picture changed, and how long each frame took. */
async function changesDuring(page: Page, act: () => Promise<void>): Promise<Changes> {
  await page.evaluate(() => {
    const picture = document.querySelector('.picture') as HTMLElement
    const changed = new Set<Node>()
    const frames: number[] = []
    let [added, last, isOver] = [0, performance.now(), false]
    const count = (records: readonly MutationRecord[]): void => {
      for (const { target, addedNodes } of records) {
        changed.add(target)
        added += [...addedNodes].filter((node) => node instanceof Element).length
      }
    }
    const observer = new MutationObserver(count)
    observer.observe(picture, { subtree: true, childList: true, attributes: true, characterData: true })
    const onFrame = (now: number): void => {
      frames.push(now - last)
      last = now
      if (!isOver) requestAnimationFrame(onFrame)
    }
    requestAnimationFrame(onFrame)
    Object.assign(globalThis, {
      changes: (): unknown => {
        isOver = true
        count(observer.takeRecords())
        observer.disconnect()
        return {
          changed: changed.size,
          added,
          nodes: picture.querySelectorAll('*').length,
          frames: frames.slice(1),
        }
      },
    })
  })
  await act()
  await drawn(page)
  return page.evaluate(() => (globalThis as unknown as { changes: () => Changes }).changes())
}

async function pan(page: Page): Promise<void> {
  await page.locator('svg.rows').hover({ position: { x: 500, y: 200 } })
  const { x, y } = (await page.locator('svg.rows').boundingBox()) ?? { x: 0, y: 0 }
  await page.mouse.down()
  await page.mouse.move(x + 900, y + 200, { steps: 60 })
  await page.mouse.up()
}

function summary(frames: readonly number[]): string {
  const sorted = frames.toSorted((a, b) => a - b)
  const at = (part: number): string => (sorted[Math.floor((sorted.length - 1) * part)] ?? 0).toFixed(1)
  return `${frames.length} frames: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, longest ${at(1)} ms`
}

test('a pan over 500 tasks changes as few nodes as one over 40, and adds no row', async () => {
  for (const tasks of [40, 500]) {
    const { page } = await open(sampleTimeline({ tasks, isRedacted: true, turns: 20 }))
    for (let step = 0; step < 2; step += 1) await page.getByRole('button', { name: 'Zoom in' }).click()
    const panned = await changesDuring(page, () => pan(page))
    console.log(
      `pan over ${tasks} tasks: ${panned.changed} of ${panned.nodes} nodes; ${summary(panned.frames)}`,
    )
    expect(panned.nodes).toBeLessThan(800)
    expect(panned.changed).toBeLessThan(400)
    // Ticks of the axis alone.
    expect(panned.added).toBeLessThan(100)
  }
})

test('a zoom over 500 tasks changes a bounded number of nodes', async () => {
  const { page } = await open(sampleTimeline({ tasks: 500, isRedacted: true, turns: 20 }))
  const zoomed = await changesDuring(page, async () => {
    for (let step = 0; step < 10; step += 1) await page.keyboard.press('+')
  })
  console.log(`zoom over 500 tasks: ${zoomed.changed} of ${zoomed.nodes} nodes; ${summary(zoomed.frames)}`)
  expect(zoomed.changed).toBeLessThan(400)
})

test('a scroll through 500 tasks leaves only the visible rows', async () => {
  const { page } = await open(sampleTimeline({ tasks: 500, isRedacted: true, turns: 20 }))
  const scrolled = await changesDuring(page, async () => {
    await page.locator('svg.rows').hover({ position: { x: 500, y: 200 } })
    for (let step = 0; step < 30; step += 1) await page.mouse.wheel(0, 600)
  })
  console.log(`scroll through 500 tasks: ${scrolled.nodes} nodes; ${summary(scrolled.frames)}`)
  expect(await page.locator('.row').count()).toBeLessThan(40)
  await page.locator('svg.rows').focus()
  await page.keyboard.press('End')
  expect(await page.locator('[data-active]').getAttribute('aria-posinset')).toBe('501')
  expect(await page.locator('.row').count()).toBeLessThan(40)
})
