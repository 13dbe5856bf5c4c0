import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { git } from '../../src/worktree/git.ts'
import { createRepository, temporary } from './repository.ts'

/** Puts a git before the real one whose first `calls` calls fail as they do while another git makes a worktree. */
function failsAtFirst(calls: number): void {
  const directory = temporary()
  const count = join(directory, 'count')
  writeFileSync(count, '')
  const script = `#!/bin/sh
printf x >> ${count}
if [ "$(wc -c < ${count})" -le ${calls} ]; then
  echo 'fatal: failed to read .git/worktrees/bg_00000001/commondir: Success' >&2
  exit 128
fi
PATH="$REAL_PATH" exec git "$@"
`
  writeFileSync(join(directory, 'git'), script)
  chmodSync(join(directory, 'git'), 0o755)
  vi.stubEnv('REAL_PATH', process.env['PATH'])
  vi.stubEnv('PATH', `${directory}:${process.env['PATH']}`)
}

test('a call that finds the half-made worktree of another process is repeated', async () => {
  const { root } = createRepository()
  failsAtFirst(3)
  expect((await git(root, ['worktree', 'list', '--porcelain'])).stdout).toContain(`worktree ${root}\n`)
})

test('a worktree whose record stays empty fails the call, which names it', async () => {
  const { root } = createRepository()
  failsAtFirst(1000)
  await expect(git(root, ['worktree', 'list'])).rejects.toThrow(
    'git worktree: failed to read .git/worktrees/bg_00000001/commondir',
  )
})

test('git does not wait for a passphrase of ssh, and makes patches that it can apply', async () => {
  const { root } = createRepository()
  vi.stubEnv('GIT_DIFF_OPTS', '-u0')
  const show = ['-c', 'alias.show-env=!echo "$SSH_ASKPASS $SSH_ASKPASS_REQUIRE $GIT_DIFF_OPTS"', 'show-env']
  expect((await git(root, show)).stdout).toBe('true force \n')
})
