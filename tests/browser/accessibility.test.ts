import axe from 'axe-core'
import { expect, test } from 'vitest'
import { usePages } from './open-page.ts'
import { sampleTimeline } from './sample.ts'
import type { Page } from 'playwright-core'

const open = usePages()
const SAMPLE = sampleTimeline({ tasks: 20, findings: ['38 % of the cost is one task'] })

/** Resolves with the serious and critical findings of axe, with the places of each. */
async function findingsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() =>
    (globalThis as unknown as { axe: typeof axe }).axe.run({ resultTypes: ['violations'] }),
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.slice(0, 5).map(({ html }) => `${id}: ${html.slice(0, 160)}`))
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing serious in the ${colorScheme} page`, async () => {
    const { page } = await open(SAMPLE, { colorScheme })
    expect(await findingsOf(page)).toEqual([])
  })

  test(`axe finds nothing serious in the ${colorScheme} details of a task`, async () => {
    const { page } = await open(SAMPLE, { colorScheme })
    await page.getByRole('button', { name: 'Write tests for the parser' }).click()
    expect(await findingsOf(page)).toEqual([])
  })
}

test('axe finds nothing serious in the page of a session without tasks', async () => {
  const { page } = await open(sampleTimeline({ tasks: 0 }))
  expect(await findingsOf(page)).toEqual([])
})

test('the rows say to a screen reader what the picture shows', async () => {
  const { page } = await open(SAMPLE)
  const label = await page.locator('[role=option]').nth(4).getAttribute('aria-label')
  expect(label).toMatch(
    /^Find dead code in src\/legacy ✕ timeout 1m 43s \$0\.\d+, .*, agent explore, waited 1m 7s, worked [\d.]+s, \d+ tool calls, parent notified, read by the parent$/,
  )
  expect(await page.getByRole('img').getAttribute('aria-label')).toMatch(
    /^Agents' slots: at most 4 of 4 in use\. Commands' slots: at most 3 in use\. Cost so far: \$\d/,
  )
})
