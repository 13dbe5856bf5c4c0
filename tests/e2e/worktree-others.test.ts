/**
 * What others do with a checkout that has changes: plain `git worktree add`, on which most tools build, and OpenCode's own
 * endpoint for worktrees. The table of docs/worktrees.md has these facts.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage.close())

function git(...args: readonly string[]): string {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost']
  return execFileSync('git', [...identity, ...args], {
    cwd: stage.server.directory,
    stdio: 'pipe',
  }).toString()
}

const at = (path: string): string => join(stage.server.directory, path)

/** Which of the changes of the checkout a worktree begins with. */
function changesIn(directory: string): Readonly<Record<string, boolean>> {
  const has = (path: string, text: string): boolean =>
    existsSync(join(directory, path)) && readFileSync(join(directory, path), 'utf8') === text
  return {
    staged: has('staged.txt', 'staged\n'),
    changed: has('tracked.txt', 'changed\n'),
    new: has('new.txt', 'new\n'),
    included: has('.env', 'KEY=1\n'),
  }
}

const NONE = { staged: false, changed: false, new: false, included: false }

beforeAll(() => {
  writeFileSync(at('tracked.txt'), 'committed\n')
  writeFileSync(at('.gitignore'), '.env\n')
  writeFileSync(at('.worktreeinclude'), '.env\n')
  git('add', '--all')
  git('commit', '--quiet', '--message', 'A start')
  writeFileSync(at('staged.txt'), 'staged\n')
  git('add', 'staged.txt')
  writeFileSync(at('tracked.txt'), 'changed\n')
  writeFileSync(at('new.txt'), 'new\n')
  writeFileSync(at('.env'), 'KEY=1\n')
})

async function request(method: 'POST' | 'DELETE', body: object): Promise<{ readonly directory: string }> {
  const { url, directory } = stage.server
  const response = await fetch(`${url}/experimental/worktree?directory=${encodeURIComponent(directory)}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(response.status).toBe(200)
  return (await response.json()) as { directory: string }
}

test("OpenCode's own worktree has no change of the checkout, and its removal deletes committed work", async () => {
  const { directory } = await request('POST', { name: 'other' })
  // OpenCode answers before the files are there.
  await expect.poll(() => existsSync(join(directory, 'tracked.txt'))).toBe(true)
  const own = execFileSync('git', ['rev-parse', '--absolute-git-dir'], { cwd: directory }).toString().trim()
  await expect.poll(() => existsSync(join(own, 'index')) && !existsSync(join(own, 'index.lock'))).toBe(true)
  expect(changesIn(directory)).toEqual(NONE)
  const branch = execFileSync('git', ['branch', '--show-current'], { cwd: directory }).toString().trim()
  writeFileSync(join(directory, 'work.txt'), 'work\n')
  execFileSync('git', ['add', 'work.txt'], { cwd: directory })
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost']
  execFileSync('git', [...identity, 'commit', '--quiet', '--message', 'Work'], { cwd: directory })
  writeFileSync(join(directory, 'more.txt'), 'more\n')
  await request('DELETE', { directory })
  expect(existsSync(directory)).toBe(false)
  expect(git('branch', '--list', branch)).toBe('')
})

test('a plain git worktree has no change of the checkout, and goes only when it is clean', () => {
  const directory = join(stage.server.home, 'plain')
  git('worktree', 'add', '--quiet', '-b', 'plain', directory)
  expect(changesIn(directory)).toEqual(NONE)
  writeFileSync(join(directory, 'work.txt'), 'work\n')
  expect(() => git('worktree', 'remove', directory)).toThrow(/contains modified or untracked files/)
  git('worktree', 'remove', '--force', directory)
  expect(git('branch', '--list', 'plain')).toContain('plain')
})

test('a worktree of ours has all changes of the checkout, and the included files', async () => {
  const parent = await stage.parent(({ messages }) => {
    const asked = messages.find(({ role }) => role === 'user')?.content ?? ''
    const [, directory = ''] = /worktree of your own, (\S+): /.exec(asked) ?? []
    return { text: JSON.stringify(changesIn(directory)) }
  })
  const args = { description: 'look', prompt: 'look', agent: 'general', worktree: true }
  await parent.call([{ name: 'background_task', args }])
  await parent.waitForNotice('staged')
  expect(parent.noticeText).toContain(
    JSON.stringify({ staged: true, changed: true, new: true, included: true }),
  )
})
