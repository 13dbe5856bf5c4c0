/** Opens the page of a timeline in Chromium, from a file. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import { bundlePageScript } from '../../scripts/build.ts'
import { pageOf } from '../../src/session-timeline/page.ts'
import type { SessionTimeline } from '../../src/session-timeline/session-timeline.ts'

const CHROMIUM = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** Starts Chromium. The caller closes it. */
export async function startChromium(): Promise<Browser> {
  const executablePath = CHROMIUM.find((path) => existsSync(path))
  if (executablePath === undefined)
    throw new Error('No Chromium was found: install it, on Debian with `apt-get install chromium`.')
  // Chromium starts its handler of crashes when it likes, which would be a process that a test leaves. The browser
  // itself is a child of this process, so that the check of leaks sees it without the mark.
  const { OPENCODE_BACKGROUND_TEST_FILE: _, ...env } = process.env
  return chromium.launch({ executablePath, env })
}

/** Returns the script of the page, as the package has it. */
export async function pageScript(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'timeline-script-'))
  try {
    await bundlePageScript(join(directory, 'page.js'))
    return readFileSync(join(directory, 'page.js'), 'utf8')
  } finally {
    rmSync(directory, { recursive: true })
  }
}

export interface OpenedPage {
  readonly page: Page
  /** All that the console has, errors of the page, and dialogs. */
  readonly complaints: readonly string[]
  /** The URLs that the page asked for, beside its own. */
  readonly requests: readonly string[]
  readonly html: string
}

/** Returns a function that opens the page of a timeline. The tests of a file share a browser, each page is its own. */
export function usePages(): (
  timeline: SessionTimeline,
  options?: BrowserContextOptions,
) => Promise<OpenedPage> {
  let browser: Browser
  let script: string
  let directory: string
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'timeline-pages-'))
    script = await pageScript()
    browser = await startChromium()
  })
  afterAll(async () => {
    await browser.close()
    rmSync(directory, { recursive: true })
  })
  return async (timeline, options = {}) => {
    for (const context of browser.contexts()) await context.close()
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      timezoneId: 'UTC',
      locale: 'en-GB',
      ...options,
    })
    const page = await context.newPage()
    const complaints: string[] = []
    const requests: string[] = []
    const html = pageOf(timeline, script)
    const file = join(directory, 'timeline.html')
    const url = pathToFileURL(file).href
    writeFileSync(file, html)
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    page.on('request', (request) => {
      if (request.url() !== url) requests.push(request.url())
    })
    await page.goto(url)
    await page.locator('svg.rows .row').first().waitFor()
    return { page, complaints, requests, html }
  }
}

/** Resolves when what was changed so far is drawn: the page draws changes with its next frame. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  )
}
