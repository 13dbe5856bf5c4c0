import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { databaseURL } from '../../../src/fleet/database-url.ts'

const SECRET = 'postgres://worker:secret@127.0.0.1/fleet'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'opencode-url-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true })
})

test('the URL of the database comes from the variable that is named, or from a private file', () => {
  vi.stubEnv('FLEET_DB', SECRET)
  expect(databaseURL('{env:FLEET_DB}')).toBe(SECRET)
  const file = join(directory, 'url')
  writeFileSync(file, `${SECRET}\n`, { mode: 0o600 })
  expect(databaseURL(file)).toBe(SECRET)
})

test('a URL that others can read is refused with what to do, and never repeated', () => {
  const file = join(directory, 'url')
  writeFileSync(file, SECRET)
  chmodSync(file, 0o640)
  vi.stubEnv('EMPTY', '')
  vi.stubEnv('WRONG', 'mysql://worker:secret@127.0.0.1/fleet')
  const refusals: readonly [string, string][] = [
    [SECRET, 'name that as {env:NAME}'],
    [file, `chmod 600 ${file}`],
    ['{env:EMPTY}', 'the environment variable EMPTY is empty'],
    ['{env:WRONG}', 'the environment variable WRONG must have the URL of a PostgreSQL'],
    [join(directory, 'none'), 'cannot be read'],
  ]
  for (const [place, why] of refusals) {
    expect(() => databaseURL(place)).toThrow(why)
    expect(() => databaseURL(place)).not.toThrow('secret')
  }
})
