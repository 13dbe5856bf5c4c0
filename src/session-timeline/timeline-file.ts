/** Writes the timeline of a session as a page. A bundle of its own, which the terminal UI's request and the command load. */
import { closeSync, fchmodSync, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Opencode } from '../host/opencode.ts'
import { openInBrowser } from './open-in-browser.ts'
import { pageOf } from './page.ts'
import { readTimeline, type TimelineOptions } from './read.ts'

export interface WrittenOptions extends TimelineOptions {
  /** Whether to open the file in a browser. */
  readonly open: boolean
}

/** Resolves with whether a browser was opened. Rejects with a `HostError`, or the error of the file system. */
export async function writeTimeline(
  opencode: Opencode,
  sessionID: string,
  file: string,
  { open, ...options }: WrittenOptions,
): Promise<boolean> {
  const timeline = await readTimeline(opencode, sessionID, options)
  const script = readFileSync(new URL('./timeline-page.js', import.meta.url), 'utf8')
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writePrivately(file, pageOf(timeline, script))
  return open && openInBrowser(file)
}

/** Writes a file that only its owner can read, even if it exists with another mode. */
function writePrivately(file: string, text: string): void {
  const handle = openSync(file, 'w', 0o600)
  try {
    if (fstatSync(handle).isFile()) fchmodSync(handle, 0o600)
    writeFileSync(handle, text)
  } finally {
    closeSync(handle)
  }
}
