import { expect, test } from 'vitest'
import { drawn, usePages } from './open-page.ts'
import { sampleTimeline } from './sample.ts'
import type { Page } from 'playwright-core'
import type { TaskTimeline } from '../../src/session-timeline/session-timeline.ts'

const open = usePages()
const SAMPLE = sampleTimeline({ tasks: 20, findings: ['38 % of the cost is one task'] })

const rowNames = (page: Page): Promise<string[]> => page.locator('tbody th').allTextContents()
const ticks = (page: Page): Promise<string[]> => page.locator('.axis .tick text').allTextContents()
const activeLabel = (page: Page): Promise<string | null> =>
  page.locator('[role=option][aria-selected=true]').getAttribute('aria-label')

test('arrow keys move between rows, Enter opens a task, Escape closes it, and the focus comes back', async () => {
  const { page } = await open(SAMPLE)
  await page.locator('svg.rows').focus()
  expect(await activeLabel(page)).toContain('The session itself')
  await page.keyboard.press('ArrowDown')
  expect(await activeLabel(page)).toContain('Find where sessions are stored ✓ done 1m 36s')
  expect(await page.locator('.tooltip').textContent()).toContain('Find where sessions are stored')
  await page.keyboard.press('End')
  expect(await activeLabel(page)).toContain('npm run build ✓ done')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'docker compose up db' })
  expect(await dialog.isVisible()).toBe(true)
  await page.keyboard.press('Escape')
  expect(await dialog.isVisible()).toBe(false)
  expect(await page.evaluate(() => document.activeElement?.getAttribute('class'))).toBe('rows')
})

test('each control is reached by Tab, and shows that it has the focus', async () => {
  const { page } = await open(SAMPLE)
  const reached: string[] = []
  for (let index = 0; index < 10; index += 1) {
    await page.keyboard.press('Tab')
    reached.push(
      await page.evaluate(() => {
        const { activeElement: active } = document
        const outlined = active?.closest('.scroller') ?? active
        const isSeen = outlined ? getComputedStyle(outlined).outlineStyle !== 'none' : false
        return `${active?.tagName.toLowerCase()} ${isSeen ? 'seen' : 'unseen'}`
      }),
    )
  }
  expect(reached).toEqual([
    'input seen',
    ...Array.from({ length: 4 }, () => 'select seen'),
    ...Array.from({ length: 3 }, () => 'button seen'),
    'svg seen',
    'button seen',
  ])
})

test('the slash key starts a search, which filters rows and table; Escape ends it', async () => {
  const { page } = await open(SAMPLE)
  await page.keyboard.press('/')
  await page.keyboard.type('REVIEW the')
  expect((await rowNames(page)).toSorted()).toEqual([
    'Review the login flow',
    'Review the migration for locks',
    'Review the new cache',
  ])
  await expect.poll(() => page.locator('svg.rows .row.task').count()).toBe(3)
  expect(await page.locator('.controls output').textContent()).toBe('3 of 20 tasks')
  expect(await page.locator('tfoot th').textContent()).toBe('3 tasks')
  await page.keyboard.press('Escape')
  expect(await rowNames(page)).toHaveLength(20)
})

test('a search also finds a prompt, and nothing where nothing fits', async () => {
  const { page } = await open(SAMPLE)
  await page.getByLabel('Search', { exact: true }).fill('read the code first')
  expect(await rowNames(page)).toHaveLength(20)
  await page.getByLabel('Search', { exact: true }).fill('no such text')
  expect(await rowNames(page)).toEqual([])
})

test('tasks are filtered by agent, end and kind', async () => {
  const { page } = await open(SAMPLE)
  await page.getByLabel('Agent', { exact: true }).selectOption('review')
  expect(await rowNames(page)).toHaveLength(4)
  await page.getByLabel('Agent', { exact: true }).selectOption('')
  await page.getByLabel('Kind', { exact: true }).selectOption('command')
  expect(await rowNames(page)).toHaveLength(4)
  await page.getByLabel('Kind', { exact: true }).selectOption('')
  await page.getByLabel('End', { exact: true }).selectOption('error')
  expect((await rowNames(page)).toSorted()).toEqual([
    'Find dead code in src/legacy',
    'Update the changelog and the docs',
  ])
})

test('keys, buttons and Ctrl with the wheel zoom, drags and arrow keys pan, and 0 shows the whole', async () => {
  const { page } = await open(SAMPLE)
  const whole = await ticks(page)
  await page.getByRole('button', { name: 'Zoom in' }).click()
  await expect.poll(() => ticks(page)).not.toEqual(whole)
  const closer = await ticks(page)
  await page.locator('svg.rows').focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  await expect.poll(() => ticks(page)).not.toEqual(closer)
  await page.keyboard.press('0')
  await expect.poll(() => ticks(page)).toEqual(whole)
  await page.keyboard.press('+')
  await expect.poll(() => ticks(page)).toEqual(closer)
  await page.keyboard.press('-')
  await expect.poll(() => ticks(page)).toEqual(whole)
  await page.locator('svg.rows').hover({ position: { x: 640, y: 200 } })
  await page.keyboard.down('Control')
  await page.mouse.wheel(0, -600)
  await page.keyboard.up('Control')
  await expect.poll(() => ticks(page)).not.toEqual(whole)
  const zoomed = await ticks(page)
  await page.mouse.down()
  await page.mouse.move(840, 400, { steps: 5 })
  await page.mouse.up()
  await expect.poll(() => ticks(page)).not.toEqual(zoomed)
  expect(await page.locator('dialog').isVisible()).toBe(false)
})

test('a zoom by key or button hides the tooltip, whose row and time are elsewhere then', async () => {
  const { page } = await open(SAMPLE)
  const tooltip = page.locator('.tooltip')
  const zoomIn = page.getByRole('button', { name: 'Zoom in' })
  for (const zoom of [() => page.keyboard.press('+'), () => zoomIn.press('Enter')]) {
    await page.locator('svg.rows .row.task').first().hover()
    expect(await tooltip.isVisible()).toBe(true)
    await zoom()
    await tooltip.waitFor({ state: 'hidden' })
    await page.mouse.move(0, 0)
  }
})

test('a click on a row opens prompt, result, changes and story of its task', async () => {
  const { page } = await open(SAMPLE)
  const first = page.locator('svg.rows .row.task').first()
  await first.hover()
  expect(await page.locator('.tooltip').isVisible()).toBe(true)
  await first.click()
  const dialog = page.getByRole('dialog', { name: 'Find where sessions are stored' })
  expect(await dialog.locator('pre').allTextContents()).toEqual([
    expect.stringContaining('Read the code first.'),
    expect.stringContaining('I have looked at'),
    'launched\ntook a slot\nread src/config.ts\nended',
  ])
  await dialog.getByRole('button', { name: 'Close' }).click()
  expect(await dialog.isVisible()).toBe(false)
})

test('the details lead to the tasks for which a task waited', async () => {
  const { page } = await open(SAMPLE)
  await page.getByRole('button', { name: 'Write tests for the parser' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'List the callers of parseConfig' }).click()
  expect(await page.locator('#details-title').textContent()).toBe('List the callers of parseConfig')
})

test('the table has the slowest task first, and each column sorts it both ways', async () => {
  const { page } = await open(SAMPLE)
  const sorted = async (name: string): Promise<(string | null)[]> => {
    const head = page.locator('thead th', { hasText: name })
    await head.getByRole('button').click()
    return [await head.getAttribute('aria-sort'), (await rowNames(page))[0] ?? '']
  }
  expect((await rowNames(page))[0]).toBe('npm run dev')
  expect(await page.locator('thead th[aria-sort]').textContent()).toBe('Working')
  expect(await sorted('Cost')).toEqual(['descending', 'Fix the flaky upload test'])
  expect((await sorted('Cost'))[0]).toBe('ascending')
  expect(await sorted('Task')).toEqual(['ascending', 'Check the licences of all packages'])
  for (const name of ['Agent', 'Model', 'Start', 'Waiting', 'Working', 'Tools', 'Tokens', 'End'])
    expect((await sorted(name))[0]).toMatch(/ascending|descending/)
  expect(await page.locator('thead th[aria-sort]').count()).toBe(1)
})

test('the table is copied as CSV, in which no cell is a formula', async () => {
  const tasks = ['=1+1', '+2', '-3', '@sum', '＝5', 'plain, "quoted"', '\n=4'].map((description, index) => ({
    ...(SAMPLE.tasks[index] as (typeof SAMPLE.tasks)[number]),
    description,
  }))
  const { page } = await open({ ...SAMPLE, tasks })
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', {
      value: { writeText: async (text: string) => Object.assign(globalThis, { copied: text }) },
    })
  })
  await page.getByRole('button', { name: 'Copy as CSV' }).click()
  await page.getByText('Copied.').waitFor()
  const csv = await page.evaluate(() => (globalThis as { copied?: string }).copied ?? '')
  const [head, ...lines] = csv.trimEnd().split('\r\n')
  expect(head).toBe('ID,Task,Agent,Model,Start,Waiting (ms),Working (ms),Tools,Tokens,Cost (USD),End')
  expect(
    lines.map((line) => line.replace(/^[^,]*,/, '').replace(/,(explore|general|command),.*$/, '')).toSorted(),
  ).toEqual(['"plain, ""quoted"""', "'+2", "'-3", "'=1+1", "'=4", "'@sum", "'＝5"])
})

test('a cost in the CSV has no digits that a sum of fractions leaves', async () => {
  const [task] = SAMPLE.tasks as [TaskTimeline]
  const usage = { ...task.usage, cost: 0.1 + 0.2 }
  const { page } = await open({ ...SAMPLE, tasks: [{ ...task, usage }] })
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined })
  })
  await page.getByRole('button', { name: 'Copy as CSV' }).click()
  expect(await page.getByLabel('The table as CSV').inputValue()).toMatch(/,0\.3,done\s*$/)
})

test('where the browser forbids the clipboard, the CSV is shown to be copied', async () => {
  const { page } = await open(SAMPLE)
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined })
  })
  await page.getByRole('button', { name: 'Copy as CSV' }).click()
  expect(await page.getByLabel('The table as CSV').inputValue()).toMatch(/^ID,Task,/)
})

test('the page is dark where the system is, and as the user says', async () => {
  const { page } = await open(SAMPLE, { colorScheme: 'dark' })
  const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  expect(await paper()).toBe('rgb(17, 21, 27)')
  await page.getByLabel('Theme', { exact: true }).selectOption('light')
  expect(await paper()).toBe('rgb(255, 255, 255)')
  await page.getByLabel('Theme', { exact: true }).selectOption('')
  await page.emulateMedia({ colorScheme: 'light' })
  expect(await paper()).toBe('rgb(255, 255, 255)')
  await page.getByLabel('Theme', { exact: true }).selectOption('dark')
  expect(await paper()).toBe('rgb(17, 21, 27)')
})

test('on paper all rows and the table are light, without controls', async () => {
  const { page, complaints } = await open(sampleTimeline({ tasks: 120 }), { colorScheme: 'dark' })
  const onScreen = await page.locator('.row.task').count()
  expect(onScreen).toBeLessThan(40)
  await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
  await expect.poll(() => page.locator('.paper .row.task').count()).toBe(120)
  expect(
    await page.locator('.controls').locator('input, select, button').filter({ visible: true }).count(),
  ).toBe(0)
  expect(await page.locator('.legend').isVisible()).toBe(true)
  expect(await page.locator('tbody tr').count()).toBe(120)
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe(
    'rgb(255, 255, 255)',
  )
  const heights = await page
    .locator('.paper svg')
    .evaluateAll((slices) => slices.map((slice) => slice.getBoundingClientRect().height))
  // A4 has 1,040 of these pixels between its margins.
  expect(Math.max(...heights)).toBeLessThan(700)
  await page.emulateMedia({ media: 'screen' })
  await expect.poll(() => page.locator('.row.task').count()).toBe(onScreen)
  const pdf = (await page.pdf({ preferCSSPageSize: true })).toString('latin1')
  expect(pdf.match(/\/Type \/Page\b/g)?.length).toBeGreaterThan(4)
  await expect.poll(() => page.locator('.row.task').count()).toBe(onScreen)
  expect(complaints).toEqual([])
})

test('paper says that it shows some of the tasks', async () => {
  const { page } = await open(SAMPLE)
  await page.getByLabel('Kind', { exact: true }).selectOption('command')
  await page.emulateMedia({ media: 'print' })
  await expect.poll(() => page.locator('.paper .row.task').count()).toBe(4)
  const shown = page.getByText('4 of 20 tasks')
  expect(await shown.isVisible()).toBe(true)
})

test('paper shows all of the time, and the screen keeps its zoom', async () => {
  const { page } = await open(SAMPLE)
  const labels = (): Promise<string[]> => page.locator('.axis .tick text').allTextContents()
  const all = await labels()
  await page.locator('svg.rows').focus()
  for (let times = 0; times < 5; times += 1) await page.keyboard.press('+')
  await drawn(page)
  const zoomed = await labels()
  expect(zoomed).not.toEqual(all)
  await page.emulateMedia({ media: 'print' })
  await expect.poll(() => page.locator('.paper .row.task').count()).toBeGreaterThan(0)
  // Paper has a width of its own, and so other ticks; but no bar is beyond its edges.
  expect(await page.locator('.paper .beyond:not([d=""])').count()).toBe(0)
  await page.emulateMedia({ media: 'screen' })
  await expect.poll(labels).toEqual(zoomed)
  expect(await page.locator('.beyond:not([d=""])').count()).toBeGreaterThan(0)
})

test('at a width of 800 pixels nothing is wider than the page', async () => {
  const { page } = await open(SAMPLE, { viewport: { width: 800, height: 800 } })
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
  await page.setViewportSize({ width: 1280, height: 800 })
  await expect
    .poll(() => page.locator('svg.rows').evaluate((rows) => rows.getBoundingClientRect().width))
    .toBeGreaterThan(1000)
})
