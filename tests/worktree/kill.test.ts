import { existsSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { git, type Git } from '../../src/worktree/git.ts'
import { type Repository, createRepository, locksOf, task, treesOf } from './repository.ts'

const KILLED = 'killed'

/** Returns a git that ends with its call `last`, as this process would by a kill, and how many calls there were. */
function killedAt(last: number): { readonly git: Git; readonly calls: () => number } {
  let calls = 0
  return {
    calls: () => calls,
    git(directory, args, options) {
      calls += 1
      if (calls > last) return Promise.reject(new Error(KILLED))
      return git(directory, args, options)
    },
  }
}

/** Runs a task to its end with a git that is killed at a call; returns its tree as far as one was planned. */
async function play(
  repository: Repository,
  run: ReturnType<typeof task>,
  killed: ReturnType<typeof killedAt>,
): Promise<Worktree | undefined> {
  const worktrees = treesOf(killed.git, repository.state)
  const worktree = await worktrees.plan(run, repository.root).catch(() => undefined)
  if (!worktree) return undefined
  const isOpen = await worktrees.open(worktree, run).then(
    () => true,
    () => false,
  )
  if (!isOpen) return worktree
  repository.write('page.txt', 'work\n', worktree.root)
  await worktrees.close(worktree, run)
  return worktree
}

test('a task that is killed at any step continues from where it was, with all files and no lock', async () => {
  const whole = killedAt(Infinity)
  await play(createRepository(), task(), whole)
  expect(whole.calls()).toBeGreaterThan(15)
  for (let last = 0; last < whole.calls(); last += 1) {
    const repository = createRepository()
    repository.write('dirty.txt', 'dirty\n')
    const before = repository.standing()
    const run = task()
    const worktree = await play(repository, run, killedAt(last))
    expect(repository.standing()).toEqual(before)
    expect(locksOf(repository)).toEqual([])
    if (!worktree) continue
    const wrote = existsSync(worktree.root) && existsSync(`${worktree.root}/page.txt`)
    const later = treesOf(git, repository.state)
    await later.open(worktree, run)
    expect(repository.read('dirty.txt', worktree.root)).toBe('dirty\n')
    expect(existsSync(`${worktree.root}/page.txt`)).toBe(wrote)
    const changes = await later.close(worktree, run)
    const end = { type: 'committed', paths: ['page.txt'], commits: 1 }
    expect(changes).toMatchObject(wrote ? end : { type: 'none' })
    const listed = repository.git(['ls-tree', '--name-only', wrote ? worktree.branch : 'HEAD'])
    expect(listed.includes('page.txt')).toBe(wrote)
    expect(repository.standing()).toEqual(before)
  }
})

test('a tree of which git was killed while it filled it is filled again', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  const { branch, root, base } = worktree
  repository.git([
    'worktree',
    'add',
    '--no-checkout',
    '--no-track',
    '--lock',
    '-b',
    branch,
    root,
    base.commit,
  ])
  const index = repository
    .git(['rev-parse', '--path-format=absolute', '--git-path', 'index.lock'], root)
    .trim()
  writeFileSync(index, 'half')
  await repository.worktrees.open(worktree, run)
  expect(repository.read('README.md', root)).toBe('# A project\n')
  expect(repository.git(['status', '--porcelain'], root)).toBe('')
})

test('a tree of which git was killed before it wrote its HEAD is made again', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  const { branch, root, base } = worktree
  repository.git(['branch', '--no-track', branch, base.commit])
  const admin = `${repository.root}/.git/worktrees/${run.id}`
  repository.write('.git', `gitdir: ${admin}\n`, root)
  repository.write('gitdir', `${root}/.git\n`, admin)
  repository.write('locked', 'initializing', admin)
  await repository.worktrees.open(worktree, run)
  expect(repository.read('README.md', root)).toBe('# A project\n')
})

test('a directory with the files of others is not taken for a tree', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  repository.write('notes.txt', 'mine\n', worktree.root)
  await expect(repository.worktrees.open(worktree, run)).rejects.toThrow('exists, and is no worktree of')
  expect(repository.read('notes.txt', worktree.root)).toBe('mine\n')
})
