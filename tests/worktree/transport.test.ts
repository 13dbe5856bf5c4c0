import { existsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { git } from '../../src/worktree/git.ts'
import { endRef } from '../../src/worktree/refs.ts'
import {
  checkpointOf,
  commitsAt,
  dropTree,
  receive,
  refuseNoDirectory,
  send,
} from '../../src/worktree/transport.ts'
import { createRepository, task, temporary, treesOf, type Repository } from './repository.ts'

interface Elsewhere {
  /** A clone with the commits of the launch's repository at its creation. */
  readonly clone: string
  readonly trees: ReturnType<typeof treesOf>
}

function elsewhere(repository: Repository): Elsewhere {
  const clone = join(temporary(), 'clone')
  repository.git(['clone', '--quiet', repository.root, clone])
  return { clone, trees: treesOf(git, join(temporary(), 'trees')) }
}

/** Launches a task whose agent works in the clone, makes the tree there, and hands back its end. */
async function travel(
  repository: Repository,
  { clone, trees }: Elsewhere,
  work: (root: string) => void,
  launched = task('Write elsewhere'),
) {
  const { root, worktrees } = repository
  const planned = await worktrees.plan(launched, root, { isElsewhere: true })
  const { commit } = planned.base
  const out = await send(git, root, { id: launched.id, name: 'in', commit }, [])
  await receive(git, clone, { id: launched.id, name: 'in', ...out })
  const remote = task('Write elsewhere')
  const tree = await trees.plan(remote, clone, { start: commit })
  await trees.open(tree, remote)
  work(tree.root)
  const changes = await trees.close(tree, remote)
  const end = changes.type === 'committed' ? changes.commit : commit
  const back = await send(git, clone, { id: launched.id, name: 'out', commit: end }, [commit])
  await receive(git, root, { id: launched.id, name: 'out', ...back })
  return { launched, planned, remote, tree, changes: await worktrees.adopt(planned, launched, end), end }
}

test('a task that worked in another clone ends as a branch here, and applies as one that worked here', async () => {
  const repository = createRepository()
  repository.write('README.md', '# A project\n\nUncommitted\n')
  repository.write('new.txt', 'untracked\n')
  const before = repository.standing()
  const there = elsewhere(repository)
  const { launched, planned, changes, end } = await travel(repository, there, (root) => {
    expect(repository.read('README.md', root)).toBe('# A project\n\nUncommitted\n')
    expect(repository.read('new.txt', root)).toBe('untracked\n')
    writeFileSync(join(root, 'page.md'), 'Written elsewhere\n')
  })
  expect(changes).toMatchObject({
    type: 'committed',
    commit: end,
    files: 1,
    paths: ['page.md'],
    conflicts: [],
  })
  expect(existsSync(planned.root)).toBe(false)
  expect(repository.standing()).toEqual(before)
  expect(repository.git(['rev-parse', planned.branch]).trim()).toBe(end)
  expect(repository.git(['rev-parse', endRef(launched.id, 1)]).trim()).toBe(end)
  expect(await repository.worktrees.apply(planned, launched, end, false)).toMatchObject({ type: 'applied' })
  expect(repository.read('page.md')).toBe('Written elsewhere\n')
})

test('a task that changed nothing elsewhere leaves no branch here', async () => {
  const repository = createRepository()
  const { changes, planned } = await travel(repository, elsewhere(repository), () => {})
  expect(changes).toEqual({ type: 'none' })
  expect(repository.git(['branch', '--list', planned.branch])).toBe('')
})

test('tasks that work elsewhere do not count among the worktrees of this project', async () => {
  const repository = createRepository()
  const worktrees = treesOf(git, repository.state, { max: 1, ports: { freeBytes: () => Promise.resolve(0) } })
  for (let count = 0; count < 3; count += 1)
    await worktrees.plan(task(), repository.root, { isElsewhere: true })
  await expect(worktrees.plan(task(), repository.root)).rejects.toThrow('the disk of')
})

test('a checkpoint has the present files, and changes neither index nor HEAD of the tree', async () => {
  const repository = createRepository()
  const own = task()
  const tree = await repository.worktrees.plan(own, repository.root)
  await repository.worktrees.open(tree, own)
  writeFileSync(join(tree.root, 'half.txt'), 'half\n')
  const status = (): string => repository.git(['status', '--porcelain=v2', '--branch'], tree.root)
  const before = status()
  const commit = await checkpointOf(git, tree, own.id)
  expect(repository.git(['show', `${commit}:half.txt`])).toBe('half\n')
  expect(status()).toBe(before)
  expect(await checkpointOf(git, tree, own.id)).not.toBe(repository.git(['rev-parse', 'HEAD']).trim())
})

test('a tree whose end was handed back is removed with ignored files, its branch and all refs', async () => {
  const repository = createRepository()
  repository.write('.gitignore', 'build/\n')
  repository.commit('Ignore')
  const there = elsewhere(repository)
  const { launched, remote, tree } = await travel(repository, there, (root) => {
    repository.write('build/large.bin', 'x', root)
    writeFileSync(join(root, 'page.md'), 'x\n')
  })
  expect(existsSync(tree.root)).toBe(true)
  await dropTree(git, tree, [remote.id, launched.id])
  await dropTree(git, tree, [remote.id, launched.id])
  expect(existsSync(tree.root)).toBe(false)
  expect(
    repository.git(
      ['for-each-ref', 'refs/opencode-background', 'refs/heads/opencode-background'],
      there.clone,
    ),
  ).toBe('')
  expect(repository.git(['worktree', 'list', '--porcelain'], there.clone)).not.toContain(tree.root)
})

test('a clone that lacks the commits of a bundle fetches them from the remote that it was given', async () => {
  const repository = createRepository()
  const { clone } = elsewhere(repository)
  repository.write('later.txt', 'later\n')
  repository.commit('Later')
  const shared = join(temporary(), 'shared.git')
  repository.git(['clone', '--quiet', '--bare', repository.root, shared])
  repository.git(['remote', 'add', 'origin', shared])
  repository.git(['fetch', '--quiet', 'origin'])
  const known = await commitsAt(git, repository.root, 'origin')
  repository.write('now.txt', 'now\n')
  repository.commit('Now')
  const { id } = task()
  const commit = repository.git(['rev-parse', 'HEAD']).trim()
  const out = await send(git, repository.root, { id, name: 'in', commit }, known)
  await expect(receive(git, clone, { id, name: 'in', ...out })).rejects.toThrow('builds on commits')
  repository.git(['remote', 'set-url', 'origin', shared], clone)
  await receive(git, clone, { id, name: 'in', ...out }, 'origin')
  expect(repository.git(['show', `refs/opencode-background/${id}/in:now.txt`], clone)).toBe('now\n')
})

test('a commit that came without a bundle is refused where it is not known', async () => {
  const repository = createRepository()
  const { id } = task()
  const transfer = { id, name: 'in', commit: 'c'.repeat(40) } as const
  await expect(receive(git, repository.root, transfer)).rejects.toThrow('this repository lacks cccccccccccc')
  await expect(receive(git, repository.root, transfer, 'nowhere')).rejects.toThrow(
    'nowhere could not be fetched',
  )
})

test('a directory of a job is one of its commit, and no link leads out of the tree', async () => {
  const repository = createRepository()
  repository.write('packages/a/index.ts', '')
  symlinkSync('/etc', join(repository.root, 'out'))
  symlinkSync('packages', join(repository.root, 'inside'))
  repository.commit('Packages')
  const commit = repository.git(['rev-parse', 'HEAD']).trim()
  const check = (prefix: string): Promise<void> => refuseNoDirectory(git, repository.root, commit, prefix)
  await check('')
  await check('packages/a/')
  for (const prefix of [
    'out/',
    'out',
    'inside/a/',
    '/etc/',
    '../',
    'packages/../../x/',
    './',
    'README.md',
    'none/',
    '//',
  ])
    await expect(check(prefix)).rejects.toThrow('is no directory of')
})
