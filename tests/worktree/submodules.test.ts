import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { git } from '../../src/worktree/git.ts'
import type { Worktrees } from '../../src/worktree/worktrees.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { createRepository, task, treesOf, type Repository } from './repository.ts'

const never = new AbortController().signal
/** git refuses to clone from a path unless it is told to. */
const BY_PATH = ['-c', 'protocol.file.allow=always']

/** A repository with a submodule `lib`, which has one of its own, `inner`. */
function withSubmodule(): Repository & { readonly remote: string } {
  const repository = createRepository()
  const [remote, nested] = [`${repository.root}-lib`, `${repository.root}-inner`]
  for (const path of [nested, remote]) {
    repository.git(['init', '--quiet', '--initial-branch=main', path])
    repository.write('lib.txt', `${path}\n`, path)
    repository.commit('First', path)
  }
  repository.git([...BY_PATH, 'submodule', '--quiet', 'add', nested, 'inner'], remote)
  repository.commit('Inner', remote)
  repository.git([...BY_PATH, 'submodule', '--quiet', 'add', remote, 'lib'])
  repository.git([...BY_PATH, 'submodule', '--quiet', 'update', '--init', '--recursive'])
  repository.commit('Lib')
  return { ...repository, remote }
}

async function opened(
  { root }: Repository,
  trees: Worktrees,
): Promise<{ readonly run: ReturnType<typeof task>; readonly worktree: Worktree }> {
  const run = task()
  const worktree = await trees.plan(run, root)
  await trees.open(worktree, run)
  return { run, worktree }
}

test('without the option, submodules are empty, which the launch says, and an unchanged tree goes', async () => {
  const repository = withSubmodule()
  const { run, worktree } = await opened(repository, repository.worktrees)
  expect(worktree.notes).toEqual(['its submodules are empty (worktree.submodules: true fills them)'])
  expect(readdirSync(join(worktree.root, 'lib'))).toEqual([])
  expect(await repository.worktrees.close(worktree, run)).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
})

test('with the option, submodules have the files of the checkout, without their remotes, and keep those', async () => {
  const repository = withSubmodule()
  // A commit that no remote has.
  const lib = join(repository.root, 'lib')
  repository.write('lib.txt', 'not pushed\n', lib)
  repository.commit('Not pushed', lib)
  const before = repository.standing()
  for (const path of [repository.remote, `${repository.root}-inner`]) rmSync(path, { recursive: true })
  const config = repository.read('.git/config')
  const trees = treesOf(git, repository.state, { submodules: true })
  const { run, worktree } = await opened(repository, trees)
  expect(worktree.notes).toBeUndefined()
  const own = join(worktree.root, 'lib')
  expect(repository.read('lib.txt', own)).toBe('not pushed\n')
  expect(repository.read('inner/lib.txt', own)).toContain('-inner\n')
  expect(repository.git(['remote', 'get-url', 'origin'], own)).toBe(`${repository.remote}\n`)
  expect(repository.read('.git/config')).toBe(config)
  expect(await trees.close(worktree, run)).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
  expect(repository.standing()).toEqual(before)
})

test('a submodule that the checkout has not filled is filled from its remote, or fails the start', async () => {
  const repository = withSubmodule()
  repository.git(['submodule', '--quiet', 'deinit', '--force', 'lib'])
  rmSync(join(repository.root, '.git/modules'), { recursive: true })
  const trees = treesOf(git, repository.state, { submodules: true })
  // git refuses the path of this remote.
  await expect(opened(repository, trees)).rejects.toThrow('git submodule')
  repository.write('.gitconfig', '[protocol "file"]\n\tallow = always\n', join(repository.root, '..'))
  const { worktree } = await opened(repository, trees)
  expect(repository.read('lib/inner/lib.txt', worktree.root)).toContain('-inner\n')
})

test.each<{
  readonly what: string
  readonly why: string
  readonly change: (lib: string, of: Repository) => void
}>([
  {
    what: 'a changed file',
    why: 'its submodule lib has changes',
    change: (lib, of) => of.write('new.txt', 'work\n', lib),
  },
  {
    what: 'an ignored file',
    why: 'its submodule lib has ignored files: out.log',
    change: (lib, of) => {
      of.write('out.log', 'work\n', lib)
    },
  },
  {
    what: 'a commit on another branch',
    why: 'its submodule lib has commits of its own',
    change: (lib, of) => {
      of.git(['switch', '--quiet', '--create', 'mine'], lib)
      of.write('new.txt', 'work\n', lib)
      of.commit('Mine', lib)
      of.git(['switch', '--quiet', '--detach', 'mine~'], lib)
    },
  },
  {
    what: 'a stash',
    why: 'its submodule lib has commits of its own',
    change: (lib, of) => {
      of.write('lib.txt', 'work\n', lib)
      of.git(['stash'], lib)
    },
  },
  {
    what: 'a change of a nested submodule',
    why: 'its submodule lib has changes',
    change: (lib, of) => of.write('inner/new.txt', 'work\n', lib),
  },
])('an unchanged tree whose submodule has $what stays', async ({ why, change }) => {
  const repository = withSubmodule()
  repository.write('config/git/ignore', '*.log\n', join(repository.root, '..'))
  const trees = treesOf(git, repository.state, { submodules: true })
  const { run, worktree } = await opened(repository, trees)
  change(join(worktree.root, 'lib'), repository)
  expect(await trees.close(worktree, run)).toEqual({ type: 'kept', why })
  expect(existsSync(worktree.root)).toBe(true)
})

test('a tree with files of the agent in an empty submodule stays, unchanged or after its work was merged', async () => {
  const why = 'lib has files, and is no repository'
  const repository = withSubmodule()
  const { run, worktree } = await opened(repository, repository.worktrees)
  repository.write('lib/work.txt', 'work\n', worktree.root)
  expect(await repository.worktrees.close(worktree, run)).toEqual({ type: 'kept', why })
  repository.write('page.txt', 'new\n', worktree.root)
  expect(await repository.worktrees.close(worktree, run)).toMatchObject({
    paths: ['page.txt'],
    left: why,
  })
  repository.git(['merge', '--quiet', worktree.branch])
  expect(await treesOf(git, repository.state).clean(repository.root, never)).toEqual([
    `${worktree.root} is kept: ${why}`,
  ])
  expect(repository.read('lib/work.txt', worktree.root)).toBe('work\n')
})

test('a tree whose agent committed in a submodule is applied and stays, until a remote has that commit', async () => {
  const repository = withSubmodule()
  const trees = treesOf(git, repository.state, { submodules: true })
  const { run, worktree } = await opened(repository, trees)
  const lib = join(worktree.root, 'lib')
  repository.write('new.txt', 'work\n', lib)
  repository.commit('Mine', lib)
  expect(await trees.close(worktree, run)).toMatchObject({ type: 'committed', paths: ['lib'] })
  repository.git(['merge', '--quiet', worktree.branch])
  const clean = (): Promise<string[]> => treesOf(git, repository.state).clean(repository.root, never)
  expect(await clean()).toEqual([`${worktree.root} is kept: its submodule lib has commits of its own`])
  repository.git(['push', '--quiet', 'origin', 'HEAD:refs/heads/mine'], lib)
  expect(await clean()).toEqual([])
  expect(existsSync(worktree.root)).toBe(false)
})

test('an apply writes no commits of submodules, which it names, and its branch stays', async () => {
  const repository = withSubmodule()
  const trees = treesOf(git, repository.state, { submodules: true })
  const { run, worktree } = await opened(repository, trees)
  const lib = join(worktree.root, 'lib')
  repository.write('new.txt', 'work\n', lib)
  repository.commit('Mine', lib)
  repository.git(['init', '--quiet', 'made'], worktree.root)
  repository.write('made/work.txt', 'work\n', worktree.root)
  repository.commit('Work', join(worktree.root, 'made'))
  repository.write('page.txt', 'new\n', worktree.root)
  const changes = await trees.close(worktree, run)
  expect(changes).toMatchObject({ left: 'its submodule lib has commits of its own' })
  const end = changes.type === 'committed' ? changes.commit : ''
  const submodules = ['lib', 'made']
  const apply = (check: boolean): Promise<object> => trees.apply(worktree, run, end, check)
  expect(await apply(true)).toEqual({ type: 'clean', paths: ['page.txt'], submodules })
  expect(await apply(false)).toEqual({ type: 'applied', paths: ['page.txt'], submodules })
  expect(existsSync(join(repository.root, 'made'))).toBe(false)
  await expect(apply(false)).rejects.toThrow(
    `commits of submodules (lib, made), which an apply does not write; push those, and merge ${worktree.branch}`,
  )
  expect(await treesOf(git, repository.state).clean(repository.root, never)).toEqual([])
  expect(repository.read('made/work.txt', worktree.root)).toBe('work\n')
})

test('a repository that the agent cloned into its tree stays while it has commits of its own', async () => {
  const repository = withSubmodule()
  const { run, worktree } = await opened(repository, repository.worktrees)
  const own = join(worktree.root, 'made')
  repository.git(['init', '--quiet', own])
  repository.write('work.txt', 'work\n', own)
  repository.commit('Work', own)
  await repository.worktrees.close(worktree, run)
  const old = treesOf(git, repository.state, { ports: { clock: { now: () => Date.now() + 1e10 } } })
  expect(await old.clean(repository.root, never)).toEqual([
    `${worktree.root} is kept: its submodule made has commits of its own`,
  ])
  expect(repository.read('work.txt', own)).toBe('work\n')
})

test('a launch says that LFS files are pointers only where the filter is missing', async () => {
  const repository = createRepository()
  repository.write('.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs -text\n')
  repository.commit()
  const notes = async (): Promise<readonly string[] | undefined> =>
    (await repository.worktrees.plan(task(), repository.root)).notes
  expect(await notes()).toEqual(['its LFS files are pointers (`git lfs install` sets up the filter)'])
  repository.git(['config', 'filter.lfs.smudge', 'cat'])
  expect(await notes()).toBeUndefined()
})

test('a tree of a sparse checkout is as sparse, which the launch says, and loses no file beside it', async () => {
  const repository = createRepository()
  repository.write('one/a.txt', 'a\n')
  repository.write('two/b.txt', 'b\n')
  repository.commit()
  repository.git(['sparse-checkout', 'set', 'one'])
  repository.write('one/new.txt', 'new\n')
  const before = repository.standing()
  const { run, worktree } = await opened(repository, repository.worktrees)
  expect(worktree.notes).toEqual(['it has only the files of your sparse checkout'])
  expect(readdirSync(worktree.root).toSorted()).toEqual(['.git', 'README.md', 'one'])
  repository.write('one/work.txt', 'work\n', worktree.root)
  expect(await repository.worktrees.close(worktree, run)).toMatchObject({ paths: ['one/work.txt'] })
  expect(repository.git(['ls-tree', '-r', '--name-only', worktree.branch])).toContain('two/b.txt')
  expect(repository.standing()).toEqual(before)
})
