import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { git } from '../../src/worktree/git.ts'
import { type Repository, createRepository, task, treesOf } from './repository.ts'

/** Runs a task whose agent does `work` in its tree; returns the tree and its end. */
async function run(
  { worktrees, root }: Repository,
  work: (root: string) => void,
): Promise<{ readonly worktree: Worktree; readonly own: ReturnType<typeof task>; readonly end: string }> {
  const own = task()
  const worktree = await worktrees.plan(own, root)
  await worktrees.open(worktree, own)
  work(worktree.root)
  const changes = await worktrees.close(worktree, own)
  if (changes.type !== 'committed') throw new Error(`The run ended as ${JSON.stringify(changes)}`)
  return { worktree, own, end: changes.commit }
}

/** What an apply may not change. */
function staged(repository: Repository): object {
  const { root } = repository
  return {
    index: readFileSync(join(root, '.git', 'index')).toString('hex'),
    head: repository.git(['rev-parse', 'HEAD']),
    stashes: repository.git(['stash', 'list']),
  }
}

test('an apply writes changed, new, deleted and binary files beside those of the checkout, and stages none', async () => {
  const repository = createRepository()
  const lines = Array.from({ length: 30 }, (_, line) => `line ${line}\n`)
  repository.write('both.txt', lines.join(''))
  repository.write('gone.txt', 'old\n')
  repository.write('staged.txt', 'old\n')
  repository.commit()
  repository.write('staged.txt', 'staged\n')
  repository.git(['add', 'staged.txt'])
  const { worktree, own, end } = await run(repository, (root) => {
    repository.write('both.txt', ['by the agent\n', ...lines].join(''), root)
    repository.git(['rm', '--quiet', 'gone.txt'], root)
    repository.write('a dir/ünï cödé.txt', 'new\n', root)
    writeFileSync(join(root, 'latin.txt'), Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x0a]))
    writeFileSync(join(root, 'binary'), Buffer.from([0, 255, 1, 254]))
    repository.write('tool.sh', '#!/bin/sh\n', root)
    chmodSync(join(root, 'tool.sh'), 0o755)
  })
  repository.write('both.txt', [...lines, 'by the parent\n'].join(''))
  const before = staged(repository)
  const forecast = await repository.worktrees.apply(worktree, own, end, true)
  expect(forecast.type).toBe('clean')
  expect(existsSync(join(repository.root, 'binary'))).toBe(false)
  const applied = await repository.worktrees.apply(worktree, own, end, false)
  const paths = ['a dir/ünï cödé.txt', 'binary', 'both.txt', 'gone.txt', 'latin.txt', 'tool.sh']
  expect(applied).toEqual({ type: 'applied', paths })
  expect(staged(repository)).toEqual(before)
  expect(repository.read('both.txt')).toBe(['by the agent\n', ...lines, 'by the parent\n'].join(''))
  expect(existsSync(join(repository.root, 'gone.txt'))).toBe(false)
  expect(readFileSync(join(repository.root, 'latin.txt')).toString('hex')).toBe('636166e90a')
  expect(readFileSync(join(repository.root, 'binary')).toString('hex')).toBe('00ff01fe')
  expect(statSync(join(repository.root, 'tool.sh')).mode % 0o1000).toBe(0o755)
  expect(repository.read('staged.txt')).toBe('staged\n')
})

test('an apply with one conflict writes nothing, and names its path', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => {
    repository.write('README.md', '# By the agent\n', root)
    repository.write('page.txt', 'new\n', root)
  })
  repository.write('README.md', '# By the parent\n')
  const before = repository.standing()
  for (const check of [true, false])
    expect(await repository.worktrees.apply(worktree, own, end, check)).toEqual({
      type: 'conflicts',
      paths: ['README.md'],
    })
  expect(repository.standing()).toEqual(before)
})

test('what the checkout held before each apply is kept', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('page.txt', 'new\n', root))
  for (const text of ['first\n', 'second\n']) {
    rmSync(join(repository.root, 'page.txt'), { force: true })
    repository.write('mine.txt', text)
    expect(await repository.worktrees.apply(worktree, own, end, false)).toMatchObject({ type: 'applied' })
  }
  const ref = `refs/opencode-background/${own.id}/before-apply`
  expect(repository.git(['show', `${ref}:mine.txt`])).toBe('second\n')
  expect(repository.git(['show', `${ref}^2:mine.txt`])).toBe('first\n')
})

test('a repeated apply writes nothing', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('page.txt', 'new\n', root))
  expect(await repository.worktrees.apply(worktree, own, end, false)).toMatchObject({ type: 'applied' })
  const before = repository.standing()
  expect(await repository.worktrees.apply(worktree, own, end, false)).toEqual({ type: 'nothing', paths: [] })
  expect(repository.standing()).toEqual(before)
})

test('an apply after a commit of the parent has the changes of both', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('page.txt', 'new\n', root))
  repository.write('other.txt', 'other\n')
  repository.commit()
  expect(await repository.worktrees.apply(worktree, own, end, false)).toEqual({
    type: 'applied',
    paths: ['page.txt'],
  })
  expect(repository.read('other.txt')).toBe('other\n')
})

test('the end of a later run is applied after an earlier one whose lines it has changed again', async () => {
  const repository = createRepository()
  const { worktrees } = repository
  const { worktree, own, end } = await run(repository, (root) => {
    repository.write('README.md', '# First\n', root)
    repository.write('page.txt', 'first\n', root)
  })
  expect(await worktrees.apply(worktree, own, end, false)).toMatchObject({ type: 'applied' })
  repository.write('mine.txt', 'mine\n')
  const next = { ...own, run: 2 }
  await worktrees.open(worktree, next)
  repository.write('README.md', '# Second\n', worktree.root)
  const changes = await worktrees.close(worktree, next)
  expect(changes).toMatchObject({ type: 'committed', conflicts: [] })
  const second = changes.type === 'committed' ? changes.commit : ''
  const paths = ['README.md']
  expect(await worktrees.apply(worktree, next, second, false)).toEqual({ type: 'applied', paths })
  expect(repository.read('README.md')).toBe('# Second\n')
  expect(await worktrees.apply(worktree, next, second, false)).toEqual({ type: 'nothing', paths: [] })
})

test('a later run conflicts with what the user has made of an earlier one that was applied', async () => {
  const repository = createRepository()
  const { worktrees } = repository
  const { worktree, own, end } = await run(repository, (root) =>
    repository.write('README.md', '# First\n', root),
  )
  await worktrees.apply(worktree, own, end, false)
  repository.write('README.md', '# Mine\n')
  const next = { ...own, run: 2 }
  await worktrees.open(worktree, next)
  repository.write('README.md', '# Second\n', worktree.root)
  expect(await worktrees.close(worktree, next)).toMatchObject({ conflicts: ['README.md'] })
})

test('an apply that finds a file changed meanwhile writes nothing', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('page.txt', 'new\n', root))
  const slow = treesOf(async (directory, args, options) => {
    const answer = await git(directory, args, options)
    if (args.includes('--check')) repository.write('README.md', '# Typed meanwhile\n')
    return answer
  }, repository.state)
  await expect(slow.apply(worktree, own, end, false)).rejects.toThrow('the checkout changed meanwhile')
  expect(existsSync(join(repository.root, 'page.txt'))).toBe(false)
})

/** A git whose apply fails after it has written, and then, without `canRestore`, cannot put anything back. */
function failingApply({ state }: Repository, canRestore: boolean): ReturnType<typeof treesOf> {
  return treesOf(async (directory, args, options) => {
    if (!canRestore && args.includes('restore')) throw new Error('No space left on device')
    const answer = await git(directory, args, options)
    if (args[0] === 'apply' && !args.includes('--check')) throw new Error('No space left on device')
    return answer
  }, state)
}

test('an apply that fails while it writes puts back what the checkout held, and leaves the index', async () => {
  const repository = createRepository()
  repository.write('gone.txt', 'old\n')
  repository.write('*.txt', 'old\n')
  repository.commit()
  const { worktree, own, end } = await run(repository, (root) => {
    repository.write('README.md', '# By the agent\n', root)
    repository.write('*.txt', 'new\n', root)
    repository.write('a dir/page.txt', 'new\n', root)
    rmSync(join(root, 'gone.txt'))
  })
  repository.write('other.txt', 'mine\n')
  repository.write('unrelated.txt', 'mine\n')
  repository.git(['add', 'other.txt'])
  const before = repository.standing()
  const failing = failingApply(repository, true).apply(worktree, own, end, false)
  await expect(failing).rejects.toThrow('No space left on device')
  expect(repository.standing()).toEqual(before)
  expect(await repository.worktrees.apply(worktree, own, end, false)).toMatchObject({ type: 'applied' })
})

test('an apply does not put back a file that the user saved after the last check', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => {
    repository.write('README.md', '# By the agent\n', root)
    repository.write('page.txt', 'by the agent\n', root)
  })
  const saved = { 'README.md': '# Typed meanwhile\n', 'page.txt': 'typed meanwhile\n' }
  const slow = treesOf((directory, args, options) => {
    if (args[0] === 'apply' && !args.includes('--check'))
      for (const [path, text] of Object.entries(saved)) repository.write(path, text)
    return git(directory, args, options)
  }, repository.state)
  await expect(slow.apply(worktree, own, end, false)).rejects.toThrow('the checkout changed meanwhile')
  for (const [path, text] of Object.entries(saved)) expect(repository.read(path)).toBe(text)
})

test.each([
  {
    what: 'a file where the checkout has a directory with an ignored file',
    theirs: 'out',
    mine: 'out/a.log',
  },
  { what: 'a file in the place of a directory with an ignored file', theirs: 'd', mine: 'd/a.log' },
  { what: 'a directory where the checkout has an ignored file', theirs: 'a.log/page.txt', mine: 'a.log' },
])('an apply of $what puts back all files', async ({ theirs, mine }) => {
  const repository = createRepository()
  repository.write('.gitignore', '*.log\n')
  repository.write('d/page.txt', 'old\n')
  repository.commit()
  const { worktree, own, end } = await run(repository, (root) => {
    rmSync(join(root, 'd'), { recursive: true })
    repository.write('README.md', '# By the agent\n', root)
    repository.write('a.txt', 'new\n', root)
    repository.write(theirs, 'new\n', root)
    repository.git(['add', '--force', theirs], root)
  })
  repository.write(mine, 'mine\n')
  const before = repository.standing()
  const failing = repository.worktrees.apply(worktree, own, end, false)
  await expect(failing).rejects.toMatchObject({ name: 'GitError' })
  expect(repository.standing()).toEqual(before)
})

test('an apply of a patch that a full disk has cut writes nothing', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => {
    for (const name of ['a.txt', 'b.txt']) repository.write(name, 'new\n', root)
    chmodSync(join(root, 'README.md'), 0o755)
  })
  const before = repository.standing()
  const cutting = treesOf(async (directory, args, options) => {
    const answer = await git(directory, args, options)
    const [, patch] = /^--output=(.*)$/.exec(args.find((arg) => arg.startsWith('--output=')) ?? '') ?? []
    // At the end of a file it is valid.
    if (patch !== undefined)
      writeFileSync(patch, readFileSync(patch, 'utf8').replace(/diff --git a\/b.txt[^]*$/, ''))
    return answer
  }, repository.state)
  await expect(cutting.apply(worktree, own, end, false)).rejects.toThrow('the disk may be full')
  expect(repository.standing()).toEqual(before)
  expect(await repository.worktrees.apply(worktree, own, end, false)).toMatchObject({ type: 'applied' })
})

test('an apply that fails, and cannot put anything back, says what has all as it was', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('README.md', 'new\n', root))
  const ref = `refs/opencode-background/${own.id}/before-apply`
  await expect(failingApply(repository, false).apply(worktree, own, end, false)).rejects.toThrow(
    `No space left on device. Some files may have been written: ${ref} has all files as they were before`,
  )
  expect(repository.git(['show', `${ref}:README.md`])).toBe('# A project\n')
})

test('an apply does not replace an ignored file', async () => {
  const repository = createRepository()
  const { worktree, own, end } = await run(repository, (root) => repository.write('out/a', 'new\n', root))
  repository.write('.gitignore', 'out/\n')
  repository.write('out/a', 'mine\n')
  await expect(repository.worktrees.apply(worktree, own, end, false)).rejects.toThrow('already exists')
  expect(repository.read('out/a')).toBe('mine\n')
})

test('two applies at once to one checkout are done one after another', async () => {
  const repository = createRepository()
  const one = await run(repository, (root) => repository.write('README.md', '# By one\n', root))
  const two = await run(repository, (root) => repository.write('README.md', '# By two\n', root))
  const { worktrees } = repository
  const ends = await Promise.all(
    [one, two].map(({ worktree, own, end }) => worktrees.apply(worktree, own, end, false)),
  )
  expect(ends.map(({ type }) => type)).toEqual(['applied', 'conflicts'])
  expect(repository.read('README.md')).toBe('# By one\n')
})
