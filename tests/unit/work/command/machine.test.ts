import { basename } from 'node:path'
import { expect, test, vi } from 'vitest'
import { isShell } from '../../../../src/work/command/machine.ts'

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

vi.mock('node:fs', async (load) => ({
  ...(await load<object>()),
  readFileSync: () => LISTED.join('\n'),
}))

test('isShell rejects listed shells of another language, and accepts unknown names only if listed', () => {
  expect(LISTED.filter(isShell).map((path) => basename(path))).toEqual(['sh', 'rbash', 'guarded'])
  expect(isShell('/opt/bin/bash')).toBe(true)
  expect(isShell('/opt/bin/guarded')).toBe(false)
})
