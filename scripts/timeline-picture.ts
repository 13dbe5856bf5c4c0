/** Draws the README's picture of the timeline's page: `npm run screenshots`. Needs Chromium. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findingsOf } from '../src/session-timeline/findings.ts'
import { pageOf } from '../src/session-timeline/page.ts'
import { pageScript, startChromium } from '../tests/browser/open-page.ts'
import { sampleTimeline } from '../tests/browser/sample.ts'

const PICTURE = fileURLToPath(new URL('../docs/screens/timeline.png', import.meta.url))
const MAX_BYTES = 200 * 1024

const directory = mkdtempSync(join(tmpdir(), 'timeline-picture-'))
const browser = await startChromium()
try {
  const sample = sampleTimeline({ tasks: 20 })
  const readers = sample.tasks.filter(({ kind }) => kind === 'agent').slice(0, 5)
  const reads = readers.flatMap(({ id }, index) => Array.from({ length: index + 1 }, () => id))
  const filesRead = new Map([['src/config.ts', reads]])
  const timeline = { ...sample, findings: findingsOf(sample, { filesRead, unread: 0 }, false) }
  const file = join(directory, 'timeline.html')
  writeFileSync(file, pageOf(timeline, await pageScript()))
  const page = await browser.newPage({
    // As high as needed for all rows.
    viewport: { width: 1280, height: 1340 },
    colorScheme: 'light',
    timezoneId: 'UTC',
    locale: 'en-GB',
  })
  await page.goto(pathToFileURL(file).href)
  await page.locator('svg.rows .row.command').last().waitFor()
  const legend = await page.locator('.legend').boundingBox()
  const height = Math.ceil((legend?.y ?? 0) + (legend?.height ?? 0) + 2)
  await page.screenshot({ path: PICTURE, clip: { x: 0, y: 0, width: 1280, height } })
} finally {
  await browser.close()
  rmSync(directory, { recursive: true })
}
if (statSync(PICTURE).size > MAX_BYTES) throw new Error(`${PICTURE} has more than ${MAX_BYTES} bytes`)
console.log('docs/screens/timeline.png')
