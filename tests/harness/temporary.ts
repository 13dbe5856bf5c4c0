/**
 * Vitest's global setup: puts all temporary files of a test run into one directory, and removes it at the end. Vitest
 * ends its workers without their exit handlers, so that the files of a failed test would stay (seen).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

const PREFIX = 'opencode-tests-'

export default function setup(): () => void {
  // Each Vitest project calls this. One directory is enough: in a nested one the path of a socket is too long.
  if (basename(tmpdir()).startsWith(PREFIX)) return () => {}
  const outer = process.env['TMPDIR']
  const path = mkdtempSync(join(tmpdir(), PREFIX))
  process.env['TMPDIR'] = path
  return () => {
    if (outer === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = outer
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}
