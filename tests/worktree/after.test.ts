import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Changes } from '../../src/task/state.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { type Repository, createRepository, task } from './repository.ts'

interface Done {
  readonly id: string
  readonly worktree: Worktree
  readonly changes: Changes
}

/** Runs a task in a tree, which starts from the end of `before` as a follower's does; `work` writes its files. */
async function run(
  { worktrees, root }: Repository,
  work: (root: string) => void,
  before?: Done,
): Promise<Done> {
  const own = task()
  const planned = await worktrees.plan(own, root)
  const worktree = before ? startingFrom(planned, before) : planned
  await worktrees.open(worktree, own)
  work(worktree.root)
  return { id: own.id, worktree, changes: await worktrees.close(worktree, own) }
}

function startingFrom(planned: Worktree, { id, worktree: { base }, changes }: Done): Worktree {
  if (changes.type !== 'committed') throw new Error(`${id} ended as ${changes.type}`)
  return { ...planned, base, from: { taskID: id, commit: changes.commit } }
}

/** How the changes of the first task come into the checkout before the follower's; resolves with what git or the apply says. */
const FIRST_COMES: Record<string, (repository: Repository, first: Done) => Promise<object>> = {
  'before it': (repository, first) => apply(repository, first),
  not: ({ root }) => Promise.resolve({ isThere: existsSync(join(root, 'page.txt')) }),
  'by a merge': (repository, first) => {
    // The branch has the file, so that git would refuse to overwrite it.
    rmSync(join(repository.root, 'draft.txt'))
    return Promise.resolve({ merged: repository.git(['merge', '--quiet', first.worktree.branch]) })
  },
}

function apply({ worktrees }: Repository, { id, worktree, changes }: Done): Promise<object> {
  return worktrees.apply(worktree, { id }, 'commit' in changes ? changes.commit : '', false)
}

test.each([
  { when: 'before it', says: { type: 'applied' } },
  { when: 'not', says: { isThere: false } },
  { when: 'by a merge', says: { merged: '' } },
])(
  'an apply of a follower writes the changes of both tasks, where those of the first were applied $when',
  async ({ when, says }) => {
    const repository = createRepository()
    repository.write('draft.txt', 'not committed\n')
    const first = await run(repository, (root) => repository.write('page.txt', 'one\n', root))
    const seen: string[] = []
    const second = await run(
      repository,
      (root) => {
        seen.push(repository.read('page.txt', root), repository.read('draft.txt', root))
        repository.write('page.txt', 'one\ntwo\n', root)
        repository.write('more.txt', 'more\n', root)
      },
      first,
    )
    expect(seen).toEqual(['one\n', 'not committed\n'])
    expect(second.changes).toMatchObject({ type: 'committed', files: 2, conflicts: [] })
    expect(await FIRST_COMES[when]?.(repository, first)).toMatchObject(says)
    expect(await apply(repository, second)).toMatchObject({ type: 'applied' })
    expect(repository.read('page.txt')).toBe('one\ntwo\n')
    expect(repository.read('more.txt')).toBe('more\n')
    expect(
      repository.git([
        'for-each-ref',
        '--format=%(objectname)',
        `refs/opencode-background/${second.id}/base`,
      ]),
    ).toBe(`${first.worktree.base.commit}\n`)
  },
)

test('a follower that changes nothing leaves no tree and no branch, and the first keeps both', async () => {
  const repository = createRepository()
  const first = await run(repository, (root) => repository.write('page.txt', 'one\n', root))
  const second = await run(repository, () => {}, first)
  expect(second.changes).toEqual({ type: 'none' })
  expect(existsSync(second.worktree.root)).toBe(false)
  const branches = repository.git(['branch', '--list', 'opencode-background/*'])
  expect(branches).toContain(first.worktree.branch)
  expect(branches).not.toContain(second.worktree.branch)
})

test('a follower starts from the end of a task whose branch was deleted', async () => {
  const repository = createRepository()
  const first = await run(repository, (root) => repository.write('page.txt', 'one\n', root))
  repository.git(['worktree', 'remove', '--force', first.worktree.root])
  repository.git(['branch', '-D', first.worktree.branch])
  const seen: string[] = []
  await run(repository, (root) => seen.push(repository.read('page.txt', root)), first)
  expect(seen).toEqual(['one\n'])
})

test('a task that contains the changes of another is not named as its rival', async () => {
  const repository = createRepository()
  const { worktrees } = repository
  const first = await run(repository, (root) => repository.write('page.txt', 'one\n', root))
  const second = await run(repository, (root) => repository.write('page.txt', 'two\n', root), first)
  const beside = await run(repository, (root) => repository.write('page.txt', 'three\n', root))
  const ended = [first, second, beside].flatMap(({ id, worktree, changes }) =>
    changes.type === 'committed' ? [{ ...worktree, id, end: changes.commit }] : [],
  )
  const rivalsOf = (done: Done): Promise<string[]> => {
    const own = ended.find(({ id }) => id === done.id)
    return worktrees.rivalsOf(
      done.worktree,
      own?.end ?? '',
      ended.filter((each) => each !== own),
    )
  }
  expect(await rivalsOf(second)).toEqual([beside.id])
  expect(await rivalsOf(beside)).toEqual([first.id, second.id])
})
