import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Changes } from '../../src/task/state.ts'
import type { Task } from '../../src/task/task.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { git } from '../../src/worktree/git.ts'
import type { Worktrees } from '../../src/worktree/worktrees.ts'
import { createRepository, keep, locksOf, task, treesOf, type Repository } from './repository.ts'
import { DONE, scene } from './scene.ts'

const never = new AbortController().signal
const DAY_MS = 24 * 60 * 60 * 1000

/** The calls of git before which a kill differs from one at the call before. */
const WRITES = new Set(['add', 'write-tree', 'commit-tree', 'update-ref', 'worktree', 'reset'])

interface Ended {
  readonly run: ReturnType<typeof task>
  readonly worktree: Worktree
  readonly changes: Changes
}

/** Runs a task whose agent does `work` in its tree. */
async function ended(
  { worktrees, root }: Repository,
  work: (root: string) => void,
  run = task(),
): Promise<Ended> {
  const worktree = await worktrees.plan(run, root)
  await worktrees.open(worktree, run)
  work(worktree.root)
  return { run, worktree, changes: await worktrees.close(worktree, run) }
}

/** Runs a task whose agent writes a page. */
const withPage = (repository: Repository): Promise<Ended> =>
  ended(repository, (root) => repository.write('page.txt', 'work\n', root))

async function apply({ worktrees }: Repository, { run, worktree, changes }: Ended): Promise<void> {
  if (changes.type !== 'committed') throw new Error(`nothing to apply: ${changes.type}`)
  expect((await worktrees.apply(worktree, run, changes.commit, false)).type).toMatch(/applied|nothing/)
}

/** The trees of another process, some days later. */
function later(repository: Repository, days: number, ports: Parameters<typeof treesOf>[2] = {}): Worktrees {
  const clock = { now: () => Date.now() + days * DAY_MS }
  return treesOf(git, repository.state, { ...ports, ports: { clock, ...ports.ports } })
}

const clean = (repository: Repository, worktrees = later(repository, 0)): Promise<string[]> =>
  worktrees.clean(repository.root, never)

function branches(repository: Repository): string[] {
  return repository
    .git(['branch', '--list', '--format=%(refname:short)', 'opencode-background/*'])
    .split('\n')
    .filter((name) => name !== '')
}

/** What of a task there is. */
function there(repository: Repository, { worktree: { root, branch } }: Ended): object {
  return { directory: existsSync(root), branch: branches(repository).includes(branch) }
}

const BOTH = { directory: true, branch: true }
const NEITHER = { directory: false, branch: false }

test('a tree whose work was applied goes with its branch, and its commits stay by refs', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  expect(await clean(repository)).toEqual([])
  expect(there(repository, one)).toEqual(BOTH)
  await apply(repository, one)
  const standing = repository.standing()
  expect(await clean(repository)).toEqual([])
  expect(there(repository, one)).toEqual(NEITHER)
  expect(repository.standing()).toEqual(standing)
  expect(repository.git(['worktree', 'list']).split('\n')).toHaveLength(2)
  expect(repository.git(['show', `refs/opencode-background/${one.run.id}/run-1:page.txt`])).toBe('work\n')
  // Its work can still be applied.
  rmSync(join(repository.root, 'page.txt'))
  await apply(repository, one)
  expect(repository.read('page.txt')).toBe('work\n')
})

test.each([
  { how: 'merged', take: (branch: string) => ['merge', '--quiet', '--no-edit', branch] },
  { how: 'cherry-picked', take: (branch: string) => ['cherry-pick', branch] },
])('a tree whose branch was $how goes with its branch', async ({ take }) => {
  const repository = createRepository()
  const one = await withPage(repository)
  repository.write('other.txt', 'other\n')
  repository.commit()
  await clean(repository)
  expect(there(repository, one)).toEqual(BOTH)
  repository.git(take(one.worktree.branch))
  expect(await clean(repository)).toEqual([])
  expect(there(repository, one)).toEqual(NEITHER)
})

test('a branch with a merge of its own counts as merged only if the checkout has its commits', async () => {
  const repository = createRepository()
  const one = await ended(repository, (root) => {
    repository.git(['switch', '--quiet', '--create', 'side'], root)
    repository.write('side.txt', 'side\n', root)
    repository.commit('Side', root)
    repository.git(['switch', '--quiet', '--detach', 'HEAD~'], root)
    repository.git(['merge', '--quiet', '--no-ff', '--no-commit', 'side'], root)
    repository.write('in-the-merge.txt', 'work\n', root)
    repository.commit('Merge', root)
  })
  repository.git(['cherry-pick', 'side'])
  await clean(repository)
  expect(there(repository, one)).toEqual(BOTH)
})

test('an applied tree stays if a file was changed since, or a commit was made', async () => {
  const repository = createRepository()
  const [dirty, ahead] = [await withPage(repository), await withPage(repository)]
  for (const each of [dirty, ahead]) await apply(repository, each)
  repository.write('page.txt', 'more\n', dirty.worktree.root)
  repository.write('page.txt', 'more\n', ahead.worktree.root)
  repository.commit('By hand', ahead.worktree.root)
  expect(await clean(repository)).toEqual([])
  for (const each of [dirty, ahead]) expect(there(repository, each)).toEqual(BOTH)
})

test('the directory of a changed tree goes after keepDays, with its files committed on its branch', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  const { branch, root } = one.worktree
  repository.write('late.txt', 'by hand\n', root)
  await clean(repository, later(repository, 6.9))
  expect(there(repository, one)).toEqual(BOTH)
  expect(repository.git(['ls-tree', '--name-only', branch])).not.toContain('late.txt')
  await clean(repository, later(repository, 7.1))
  expect(there(repository, one)).toEqual({ directory: false, branch: true })
  expect(repository.git(['show', `${branch}:late.txt`])).toBe('by hand\n')
  expect(repository.git(['show', `${branch}:page.txt`])).toBe('work\n')
  // The next run has it again.
  await repository.worktrees.open(one.worktree, one.run)
  expect(repository.read('late.txt', root)).toBe('by hand\n')
})

test('a tree in which the branch was left goes after keepDays with both commits', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  const { root, branch } = one.worktree
  repository.git(['switch', '--quiet', '--detach', 'HEAD~'], root)
  repository.write('elsewhere.txt', 'by hand\n', root)
  const kept = await clean(repository, later(repository, 8))
  expect(kept).toEqual([expect.stringContaining('has commits that its worktree lacks')])
  const all = repository.git(['log', '--all', '--name-only', '--format='])
  for (const name of ['page.txt', 'elsewhere.txt']) expect(all).toContain(name)
  expect(branches(repository)).toContain(branch)
})

test('the option keepDays is the number of days', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await clean(repository, later(repository, 2, { keepDays: 3 }))
  expect(there(repository, one)).toEqual(BOTH)
  await clean(repository, later(repository, 2, { keepDays: 1 }))
  expect(there(repository, one)).toEqual({ directory: false, branch: true })
})

test('a tree with an ignored file is kept and named, whether its work was applied or is old', async () => {
  const repository = createRepository()
  repository.write('.gitignore', 'out/\n')
  repository.commit()
  const one = await ended(repository, (root) => {
    repository.write('page.txt', 'work\n', root)
    repository.write('out/result', 'work\n', root)
  })
  await apply(repository, one)
  const why = [`${one.worktree.root} is kept: it has ignored files: out/`]
  expect(await clean(repository)).toEqual(why)
  expect(await clean(repository, later(repository, 100))).toEqual(why)
  expect(repository.read('out/result', one.worktree.root)).toBe('work\n')
  rmSync(join(one.worktree.root, 'out'), { recursive: true })
  expect(await clean(repository)).toEqual([])
  expect(there(repository, one)).toEqual(NEITHER)
})

test('a tree at work is not touched, in this process, in another, and with the lock of a person', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('half.txt', 'half\n', worktree.root)
  const [used, locked] = [await withPage(repository), await withPage(repository)]
  repository.git(['worktree', 'lock', '--reason', 'mine', locked.worktree.root])
  const isUsed = (root: string): boolean => root === used.worktree.root
  const refs = repository.refs()
  expect(await clean(repository, later(repository, 100, { ports: { isUsed } }))).toEqual([])
  expect(repository.refs()).toEqual(refs)
  for (const { root } of [worktree, used.worktree, locked.worktree]) expect(existsSync(root)).toBe(true)
  expect(repository.git(['status', '--porcelain'], worktree.root)).toBe('?? half.txt\n')
})

test('the tree of a process that is gone goes after keepDays, with its files committed', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  const owners = { self: { name: 'other' } as never, isGone: () => true }
  await clean(repository, later(repository, 6, { ports: { owners } }))
  expect(existsSync(worktree.root)).toBe(true)
  repository.write('half.txt', 'half\n', worktree.root)
  await clean(repository, later(repository, 8, { ports: { owners } }))
  expect(existsSync(worktree.root)).toBe(false)
  expect(repository.git(['show', `${worktree.branch}:half.txt`])).toBe('half\n')
  // The recovery of the task finds the commit.
  expect(await repository.worktrees.close(worktree, run)).toMatchObject({ paths: ['half.txt'] })
})

test('a tree that git has not filled is left to the next run', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  const { root, branch } = one.worktree
  repository.git(['worktree', 'remove', root])
  repository.git(['worktree', 'add', '--quiet', '--no-checkout', root, branch])
  await clean(repository, later(repository, 100))
  expect(repository.git(['ls-tree', '--name-only', branch])).toBe('README.md\npage.txt\n')
  expect(existsSync(root)).toBe(true)
})

test('a branch that is checked out elsewhere is not deleted', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  const { root, branch } = one.worktree
  repository.git(['worktree', 'remove', root])
  repository.git(['switch', '--quiet', branch])
  await clean(repository)
  expect(repository.git(['branch', '--show-current'])).toBe(`${branch}\n`)
  expect(branches(repository)).toEqual([branch])
  repository.git(['switch', '--quiet', 'main'])
  repository.git(['merge', '--quiet', branch])
  await clean(repository)
  expect(branches(repository)).toEqual([])
})

test('the refs of a task go 30 days after its branch', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await apply(repository, one)
  const two = await ended(repository, (root) => repository.write('two.txt', 'work\n', root))
  const unchanged = await ended(repository, () => {})
  await clean(repository)
  const idsOfRefs = (): string[] => [
    ...new Set(repository.refs().flatMap((name) => /bg_\w+(?=\/)/.exec(name) ?? [])),
  ]
  const ids = [one, two, unchanged].map(({ run }) => run.id)
  for (const days of [0, 29]) {
    await clean(repository, later(repository, days))
    expect(idsOfRefs()).toEqual(ids)
  }
  await clean(repository, later(repository, 31))
  expect(idsOfRefs()).toEqual([two.run.id])
})

test('a branch that is made again keeps the refs of its task', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await apply(repository, one)
  await clean(repository)
  const gone = `refs/opencode-background/${one.run.id}/gone`
  expect(repository.refs()).toContain(gone)
  const second = { ...one.run, run: 2 }
  await repository.worktrees.open(one.worktree, second)
  expect(repository.read('page.txt', one.worktree.root)).toBe('work\n')
  await repository.worktrees.close(one.worktree, second)
  // The clean-up deletes the branch again, of which the 30 days begin then.
  for (const days of [31, 60]) {
    await clean(repository, later(repository, days))
    expect(repository.refs()).toContain(`refs/opencode-background/${one.run.id}/run-1`)
  }
  await clean(repository, later(repository, 62))
  expect(repository.refs()).toEqual([])
})

test('a task whose branch was cleaned up goes on with its last end', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await apply(repository, one)
  await clean(repository)
  expect(there(repository, one)).toEqual(NEITHER)
  const second = { ...one.run, run: 2 }
  await repository.worktrees.open(one.worktree, second)
  expect(repository.read('page.txt', one.worktree.root)).toBe('work\n')
  repository.write('more.txt', 'more\n', one.worktree.root)
  expect(await repository.worktrees.close(one.worktree, second)).toMatchObject({
    paths: ['more.txt', 'page.txt'],
    conflicts: [],
  })
})

test('a run that is recovered after its tree and branch were cleaned up keeps its end', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await apply(repository, one)
  await clean(repository)
  expect(there(repository, one)).toEqual(NEITHER)
  const recovered = await repository.worktrees.close(one.worktree, one.run)
  expect(recovered).toMatchObject({ type: 'committed', paths: ['page.txt'] })
  expect(repository.refs()).toContain(`refs/opencode-background/${one.run.id}/run-1`)
})

test('a clean-up that is killed at any step loses nothing, and a later one completes it', async () => {
  const repository = createRepository()
  const [applied, old] = [await withPage(repository), await withPage(repository)]
  await apply(repository, applied)
  repository.write('late.txt', 'by hand\n', old.worktree.root)
  const putBack = keep(repository)
  /** Kills a clean-up after so many calls of git; resolves with how many it made or tried. */
  const killAfter = async (last: number): Promise<number> => {
    putBack()
    for (const each of [applied, old]) expect(there(repository, each)).toEqual(BOTH)
    let calls = 0
    const killed = treesOf(
      (directory, args, options) => {
        if (args[0] !== undefined && WRITES.has(args[0])) calls += 1
        return calls > last ? Promise.reject(new Error('killed')) : git(directory, args, options)
      },
      repository.state,
      { ports: { clock: { now: () => Date.now() + 8 * DAY_MS } } },
    )
    await clean(repository, killed).catch(() => {})
    await clean(repository, later(repository, 8))
    expect(there(repository, applied)).toEqual(NEITHER)
    expect(there(repository, old)).toEqual({ directory: false, branch: true })
    expect(repository.git(['show', `${old.worktree.branch}:late.txt`])).toBe('by hand\n')
    expect(locksOf(repository)).toEqual([])
    return calls
  }
  const calls = await killAfter(Infinity)
  expect(calls).toBeGreaterThan(10)
  for (let last = 0; last < calls; last += 1) await killAfter(last)
})

test('the first run in a process, and each apply, are followed by a clean-up', async () => {
  const repository = createRepository()
  const [one, two] = [await withPage(repository), await withPage(repository)]
  await apply(repository, one)
  const { runs, planned, worktree, log, tasks } = await scene(repository)
  expect(there(repository, one)).toEqual(BOTH)
  const outcome = await runs.run(planned, worktree, never, () => {
    repository.write('mine.txt', 'work\n', worktree.root)
    return Promise.resolve(DONE)
  })
  await runs.cleaned
  expect(there(repository, one)).toEqual(NEITHER)
  expect(there(repository, two)).toEqual(BOTH)
  const own = { ...planned, ...outcome, endedAt: 2 } as unknown as Task
  tasks.set(own.id, own)
  expect(await runs.apply(own, true)).toMatchObject({ type: 'clean' })
  await runs.cleaned
  expect(existsSync(worktree.root)).toBe(true)
  await runs.moveFromMissing(own)
  expect(log).not.toContain('move back')
  await runs.apply(own, false)
  await runs.cleaned
  expect(existsSync(worktree.root)).toBe(false)
  // OpenCode reads no configuration in a missing directory.
  expect(log.filter((line) => line === 'move back')).toHaveLength(1)
  // As a process does that finds the task after a restart.
  await runs.moveFromMissing(own)
  expect(log.filter((line) => line === 'move back')).toHaveLength(2)
  expect(log.join()).not.toContain('worktree: ')
})

test('a launch that is refused for too many trees is followed by a clean-up', async () => {
  const repository = createRepository()
  const one = await withPage(repository)
  await apply(repository, one)
  await expect(scene(repository, { options: { worktree: { max: 1 } } })).rejects.toThrow('has 1 worktrees')
  await expect.poll(() => there(repository, one)).toEqual(NEITHER)
})
