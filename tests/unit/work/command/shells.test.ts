import { basename } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'

const LISTED = [
  '/bin/sh',
  '/usr/bin/rbash',
  '/usr/local/bin/guarded',
  '/usr/bin/fish',
  '/usr/bin/xonsh',
  '/usr/bin/elvish',
  '/opt/microsoft/powershell/7/pwsh',
  '/usr/bin/tmux',
  '/usr/sbin/nologin',
]

vi.doMock('node:fs', async (load) => ({
  ...(await load<object>()),
  readFileSync: () => LISTED.join('\n'),
}))
vi.resetModules()
afterAll(() => {
  vi.doUnmock('node:fs')
  vi.resetModules()
})

test('isShell rejects listed shells of another language, and accepts unknown names only if listed', async () => {
  const { isShell } = await import('../../../../src/work/command/shells.ts')
  expect(LISTED.filter(isShell).map((path) => basename(path))).toEqual(['sh', 'rbash', 'guarded'])
  expect(isShell('/opt/bin/bash')).toBe(true)
  expect(isShell('/opt/bin/guarded')).toBe(false)
})
