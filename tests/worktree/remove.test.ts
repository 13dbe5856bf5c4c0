import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { createRepository, task, type Repository } from './repository.ts'

/** Makes a tree whose run has changed a file, and ended. */
async function ended(repository: Repository, run: ReturnType<typeof task>): Promise<Worktree> {
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'work\n', worktree.root)
  await repository.worktrees.close(worktree, run)
  return worktree
}

const showOf = (repository: Repository, commit: string): string =>
  repository.git(['show', `${commit}:page.txt`])

test('a removal takes the directory and the branch of a tree, and refs keep its commits', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await ended(repository, run)
  const before = repository.standing()
  const commit = await repository.worktrees.remove(worktree, run)
  expect(existsSync(worktree.root)).toBe(false)
  expect(repository.git(['worktree', 'list'])).not.toContain(worktree.root)
  expect(repository.refs()).toEqual([
    `refs/opencode-background/${run.id}/base`,
    `refs/opencode-background/${run.id}/left-${commit.slice(0, 12)}`,
    `refs/opencode-background/${run.id}/run-1`,
  ])
  expect(showOf(repository, commit)).toBe('work\n')
  expect(repository.standing()).toEqual(before)
  expect(await repository.worktrees.remove(worktree, run)).toBe(commit)
})

test('a removal keeps what a person wrote into the tree since, and commits that its branch lost', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await ended(repository, run)
  const end = repository.git(['rev-parse', worktree.branch]).trim()
  repository.git(['reset', '--quiet', '--hard', worktree.base.commit], worktree.root)
  repository.write('page.txt', 'by hand\n', worktree.root)
  const commit = await repository.worktrees.remove(worktree, run)
  expect(showOf(repository, commit)).toBe('by hand\n')
  expect(repository.refs()).toContain(`refs/opencode-background/${run.id}/left-${end.slice(0, 12)}`)
  expect(showOf(repository, `refs/opencode-background/${run.id}/run-1`)).toBe('by hand\n')
})

test('a tree with ignored files is not removed, and they are named', async () => {
  const repository = createRepository()
  repository.write('.gitignore', 'secret.env\n')
  repository.commit()
  const run = task()
  const worktree = await ended(repository, run)
  repository.write('secret.env', 'key\n', worktree.root)
  await expect(repository.worktrees.remove(worktree, run)).rejects.toThrow(
    `${worktree.root} is kept: it has ignored files: secret.env`,
  )
  expect(repository.read('secret.env', worktree.root)).toBe('key\n')
})

test('a branch that is checked out elsewhere is not removed', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await ended(repository, run)
  repository.git(['checkout', '--quiet', '--detach'], worktree.root)
  repository.git(['checkout', '--quiet', worktree.branch])
  await expect(repository.worktrees.remove(worktree, run)).rejects.toThrow(/checked out|used by worktree/)
  expect(repository.git(['rev-parse', '--abbrev-ref', 'HEAD']).trim()).toBe(worktree.branch)
})

test('the next run of a task whose tree was removed begins with the end of its last run', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await ended(repository, run)
  await repository.worktrees.remove(worktree, run)
  const next = { ...run, run: 2 }
  await repository.worktrees.open(worktree, next)
  expect(repository.read('page.txt', worktree.root)).toBe('work\n')
  expect(await repository.worktrees.close(worktree, next)).toMatchObject({ commits: 1, files: 1 })
})
