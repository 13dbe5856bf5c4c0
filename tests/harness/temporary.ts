/**
 * Vitest's global setup: all temporary files of a run lie in one directory, which goes when the run ends. Vitest
 * ends its workers without running their exit handlers, so what a failed test left behind would stay (seen).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

const PREFIX = 'opencode-tests-'

export default function setup(): () => void {
  // Each project of a run calls this, and one directory is enough: in one inside of another the path of a socket is too long.
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
