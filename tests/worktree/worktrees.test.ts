import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { type Repository, createRepository, locksOf, task, temporary, treesOf } from './repository.ts'
import { git } from '../../src/worktree/git.ts'

/** Gives a checkout each kind of change, with a name of blanks and other scripts. */
function changeAll(repository: Repository): void {
  for (const name of ['staged', 'unstaged', 'deleted', 'both', 'removed']) repository.write(name, 'old\n')
  repository.write('.gitignore', 'secret\n')
  repository.commit()
  repository.write('staged', 'new\n')
  repository.write('added', 'new\n')
  repository.write('both', 'staged\n')
  repository.git(['add', 'staged', 'added', 'both'])
  repository.write('both', 'unstaged\n')
  repository.write('unstaged', 'new\n')
  repository.git(['rm', '--quiet', '--cached', 'removed'])
  repository.git(['rm', '--quiet', 'deleted'])
  repository.write('a dir/ünï cödé 文.txt', 'untracked\n')
  repository.write('secret', 'ignored\n')
}

test('a tree begins with the staged, changed, deleted and new files of the checkout, without ignored ones', async () => {
  const repository = createRepository('a project, ünd')
  changeAll(repository)
  const before = repository.standing()
  const run = task('Écrire: a page & more')
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  expect(repository.standing()).toEqual(before)
  expect(worktree.branch).toBe(`opencode-background/${run.id}-ecrire-a-page-more`)
  expect(worktree.base).toMatchObject({ changed: 4, created: 2 })
  const { root } = worktree
  expect(repository.read('a dir/ünï cödé 文.txt', root)).toBe('untracked\n')
  for (const [name, text] of Object.entries({
    staged: 'new',
    unstaged: 'new',
    added: 'new',
    both: 'unstaged',
  }))
    expect(repository.read(name, root)).toBe(`${text}\n`)
  expect(repository.read('removed', root)).toBe('old\n')
  for (const name of ['deleted', 'secret']) expect(existsSync(join(root, name))).toBe(false)
  expect(repository.git(['status', '--porcelain'], root)).toBe('')
})

test('a launch in the middle of a rebase with conflicts leaves the rebase as it is', async () => {
  const repository = createRepository()
  repository.git(['switch', '--quiet', '--create', 'other'])
  repository.write('README.md', 'other\n')
  repository.commit()
  repository.git(['switch', '--quiet', 'main'])
  repository.write('README.md', 'main\n')
  repository.commit()
  expect(() => repository.git(['rebase', 'other'])).toThrow('could not apply')
  repository.write('new', 'new\n')
  const before = repository.standing()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  await repository.worktrees.close(worktree, run)
  expect(repository.standing()).toEqual(before)
  expect(repository.git(['show', `${worktree.base.commit}:README.md`])).toContain('<<<<<<<')
  repository.git(['rebase', '--abort'])
})

test('the directory of a tree is where that of the parent is in its checkout', async () => {
  const repository = createRepository()
  repository.write('packages/one/a.txt', 'a\n')
  const run = task()
  const worktree = await repository.worktrees.plan(run, join(repository.root, 'packages', 'one'))
  await repository.worktrees.open(worktree, run)
  expect(worktree.directory).toBe(join(worktree.root, 'packages/one/'))
  expect(readdirSync(worktree.directory)).toEqual(['a.txt'])
})

test('the end of a run is one commit on its branch, with the id of the task and a fixed author', async () => {
  const repository = createRepository()
  const run = task('Write a page')
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'one\ntwo\n', worktree.root)
  repository.write('README.md', '# Another\n', worktree.root)
  const before = repository.standing()
  const changes = await repository.worktrees.close(worktree, run)
  expect(repository.standing()).toEqual(before)
  expect(changes).toEqual({
    type: 'committed',
    commit: repository.git(['rev-parse', worktree.branch]).trim(),
    commits: 1,
    files: 2,
    insertions: 3,
    deletions: 1,
    paths: ['README.md', 'page.txt'],
    conflicts: [],
  })
  const format = '%an <%ae>%n%s%n%(trailers:key=Opencode-Background-Task,valueonly)'
  expect(repository.git(['log', '-1', `--format=${format}`, worktree.branch])).toBe(
    `opencode-background <opencode-background@localhost>\nWrite a page\n${run.id}\n\n`,
  )
  expect(repository.git(['status', '--porcelain'], worktree.root)).toBe('')
})

test('the commit has the author of the configuration, and neither its hooks nor its signatures', async () => {
  const repository = createRepository()
  repository.git(['config', 'user.name', 'A Person'])
  repository.git(['config', 'user.email', 'person@localhost'])
  repository.git(['config', 'commit.gpgSign', 'true'])
  repository.git(['config', 'gpg.program', '/bin/false'])
  const hooks = join(repository.root, '.git', 'hooks')
  for (const hook of [
    'pre-commit',
    'post-checkout',
    'post-commit',
    'reference-transaction',
    'post-index-change',
  ])
    writeFileSync(join(hooks, hook), `#!/bin/sh\necho ${hook} >> "${repository.state}.hooks"\nexit 1\n`, {
      mode: 0o755,
    })
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'one\n', worktree.root)
  expect(await repository.worktrees.close(worktree, run)).toMatchObject({ type: 'committed' })
  expect(existsSync(`${repository.state}.hooks`)).toBe(false)
  expect(repository.git(['log', '-1', '--format=%an', worktree.branch])).toBe('A Person\n')
})

test('commits of the agent and its unfinished files are both on the branch, also after a switch of branches', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.git(['switch', '--quiet', '--create', 'mine'], worktree.root)
  repository.write('one.txt', 'one\n', worktree.root)
  repository.commit('One', worktree.root)
  repository.write('two.txt', 'two\n', worktree.root)
  const changes = await repository.worktrees.close(worktree, run)
  expect(changes).toMatchObject({ type: 'committed', commits: 2, paths: ['one.txt', 'two.txt'] })
  expect(repository.git(['rev-parse', worktree.branch])).toBe(repository.git(['rev-parse', 'mine']))
})

test('the end of a run whose agent has checked out an earlier commit again is that of its branch', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'work\n', worktree.root)
  repository.commit('Work', worktree.root)
  repository.git(['switch', '--quiet', '--detach', 'HEAD~'], worktree.root)
  const changes = await repository.worktrees.close(worktree, run)
  const commit = repository.git(['rev-parse', worktree.branch]).trim()
  expect(changes).toMatchObject({ type: 'committed', commit, paths: ['page.txt'] })
  expect(repository.git(['rev-parse', `refs/opencode-background/${run.id}/run-1`]).trim()).toBe(commit)
})

test('a run whose agent has reset its branch to an earlier commit has changes, which can be applied', async () => {
  const repository = createRepository()
  repository.write('page.txt', 'unwanted\n')
  repository.commit()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.git(['reset', '--quiet', '--hard', 'HEAD~'], worktree.root)
  const changes = await repository.worktrees.close(worktree, run)
  expect(changes).toMatchObject({ type: 'committed', commits: 0, paths: ['page.txt'] })
  const end = changes.type === 'committed' ? changes.commit : ''
  expect(await repository.worktrees.apply(worktree, run, end, false)).toMatchObject({ type: 'applied' })
  expect(existsSync(join(repository.root, 'page.txt'))).toBe(false)
})

test.each([
  { what: 'with a change', text: 'work\n', type: 'failed' },
  { what: 'without one', text: '', type: 'none' },
])('a branch that the parent has checked out is not moved by the end of a run $what', async (each) => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.git(['switch', '--quiet', '--create', 'mine'], worktree.root)
  if (each.text !== '') repository.write('page.txt', each.text, worktree.root)
  repository.git(['switch', '--quiet', worktree.branch])
  const before = repository.standing()
  const changes = await repository.worktrees.close(worktree, run)
  expect(changes.type).toBe(each.type)
  expect(repository.standing()).toEqual(before)
  if (changes.type !== 'failed') return
  expect(changes.message).toContain(`${worktree.branch} is checked out in ${repository.root}; refs/`)
  expect(repository.git(['show', `refs/opencode-background/${run.id}/run-1:page.txt`])).toBe('work\n')
})

test('the end of a run is committed whatever the description of its task is', async () => {
  const repository = createRepository()
  for (const description of ['', '\nÜ']) {
    const run = task(description)
    const worktree = await repository.worktrees.plan(run, repository.root)
    await repository.worktrees.open(worktree, run)
    repository.write('page.txt', 'work\n', worktree.root)
    expect(await repository.worktrees.close(worktree, run)).toMatchObject({ type: 'committed' })
  }
})

test('an unchanged tree goes at its end, with its branch', async () => {
  const repository = createRepository()
  const before = repository.standing()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  expect(await repository.worktrees.close(worktree, run)).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
  expect(repository.refs()).toEqual([`refs/opencode-background/${run.id}/base`])
  expect(repository.git(['worktree', 'list']).split('\n')).toHaveLength(2)
  expect(repository.standing()).toEqual(before)
})

test('an unchanged tree with ignored files stays, and they are named', async () => {
  const repository = createRepository()
  repository.write('.gitignore', 'out/\n*.log\n.env\n')
  repository.write('.worktreeinclude', '.env\n')
  repository.write('.env', 'KEY=1\n')
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  expect(repository.read('.env', worktree.root)).toBe('KEY=1\n')
  repository.write('out/result.bin', 'work\n', worktree.root)
  repository.write('run.log', 'work\n', worktree.root)
  const changes = await repository.worktrees.close(worktree, run)
  expect(changes).toEqual({ type: 'kept', why: 'it has ignored files: out/, run.log' })
  expect(repository.read('out/result.bin', worktree.root)).toBe('work\n')
})

test.each(['--assume-unchanged', '--skip-worktree'])(
  'a tree stays in which a file was changed that git is told not to see, by %s',
  async (mark) => {
    const repository = createRepository()
    const run = task()
    const worktree = await repository.worktrees.plan(run, repository.root)
    await repository.worktrees.open(worktree, run)
    repository.git(['update-index', mark, 'README.md'], worktree.root)
    repository.write('README.md', 'work\n', worktree.root)
    expect(await repository.worktrees.close(worktree, run)).toEqual({
      type: 'kept',
      why: 'git was told not to see changes of README.md',
    })
    expect(repository.read('README.md', worktree.root)).toBe('work\n')
    repository.write('page.txt', 'work\n', worktree.root)
    expect(await repository.worktrees.close(worktree, run)).toMatchObject({
      paths: ['page.txt'],
      left: 'git was told not to see changes of README.md',
    })
  },
)

test('an unchanged tree with an included file goes, unless the agent has changed that file', async () => {
  const repository = createRepository()
  repository.write('.gitignore', '.env\n')
  repository.write('.worktreeinclude', '.env\n')
  repository.write('.env', 'KEY=1\n')
  for (const [text, type] of [
    ['KEY=1\n', 'none'],
    ['KEY=2\n', 'kept'],
  ] as const) {
    const run = task()
    const worktree = await repository.worktrees.plan(run, repository.root)
    await repository.worktrees.open(worktree, run)
    repository.write('.env', text, worktree.root)
    expect(await repository.worktrees.close(worktree, run)).toMatchObject({ type })
  }
})

test('a tree gets the ignored files of .worktreeinclude, without links, tracked files, and new files', async () => {
  const repository = createRepository()
  repository.write('.gitignore', '.env*\ncache/\n')
  repository.write('.worktreeinclude', '.env*\ncache/a\nnew.txt\nREADME.md\n')
  repository.write('.env', 'KEY=1\n')
  repository.write('cache/a', 'a\n')
  repository.write('cache/b', 'b\n')
  symlinkSync(join(repository.root, '.env'), join(repository.root, '.env.link'))
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  repository.write('new.txt', 'not ignored\n')
  await repository.worktrees.open(worktree, run)
  const names = readdirSync(worktree.root, { recursive: true }).map(String)
  expect(names.toSorted()).toEqual([
    '.env',
    '.git',
    '.gitignore',
    '.worktreeinclude',
    'README.md',
    'cache',
    'cache/a',
  ])
})

test('an included file is not written through a link of the commit', async () => {
  const repository = createRepository()
  const outside = join(repository.root, '..', 'outside')
  mkdirSync(outside)
  symlinkSync(outside, join(repository.root, 'cache'))
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  repository.git(['clean', '--force', '--quiet'])
  repository.write('.gitignore', 'cache/\n')
  repository.write('.worktreeinclude', 'cache/\n')
  repository.write('cache/a', 'a\n')
  await repository.worktrees.open(worktree, run)
  expect(readdirSync(outside)).toEqual([])
})

test('with the base "head" a tree begins without the changes of the checkout, which are counted', async () => {
  const repository = createRepository()
  changeAll(repository)
  const before = repository.standing()
  const trees = treesOf(git, repository.state, { base: 'head' })
  const run = task()
  const worktree = await trees.plan(run, repository.root)
  await trees.open(worktree, run)
  const { base, root } = worktree
  expect(base).toEqual({ commit: base.head, head: base.head, changed: 4, created: 2 })
  expect(repository.read('unstaged', root)).toBe('old\n')
  expect(existsSync(join(root, 'added'))).toBe(false)
  repository.write('page.txt', 'one\n', root)
  expect(await trees.close(worktree, run)).toMatchObject({ paths: ['page.txt'], conflicts: [] })
  expect(repository.standing()).toEqual(before)
})

test('a directory of trees inside of the checkout is refused, unless it is ignored', async () => {
  const repository = createRepository()
  const inside = treesOf(git, join(repository.root, 'trees'))
  await expect(inside.plan(task(), repository.root)).rejects.toThrow(
    'choose one outside, or add it to .gitignore',
  )
  repository.write('.gitignore', 'trees/\n')
  const run = task()
  const worktree = await inside.plan(run, repository.root)
  await inside.open(worktree, run)
  expect(repository.read('README.md', worktree.root)).toBe('# A project\n')
  const { base } = await inside.plan(task(), repository.root)
  expect(base).toMatchObject({ changed: 0, created: 1 })
})

test('of three launches at once with a limit of two one is refused, until a tree is gone', async () => {
  const repository = createRepository()
  const ended = new Set<string>()
  const trees = treesOf(git, repository.state, { max: 2, ports: { hasEnded: (id) => ended.has(id) } })
  const runs = [task(), task(), task()]
  const planned = await Promise.allSettled(runs.map((run) => trees.plan(run, repository.root)))
  const made = planned.flatMap((each, index) => {
    const run = runs[index]
    return run && each.status === 'fulfilled' ? [{ run, worktree: each.value }] : []
  })
  const refused = planned.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []))
  const ids = made
    .map(({ run }) => run.id)
    .toSorted()
    .join(', ')
  expect(refused).toEqual([
    `GitError: this project has 2 worktrees, and its limit (worktree.max) is 2: ${ids}. ` +
      'Apply or merge the work of ended tasks, or remove their trees with `git worktree remove`',
  ])
  for (const { run, worktree } of made) {
    await trees.open(worktree, run)
    repository.write(`${run.id}.txt`, 'work\n', worktree.root)
    await trees.close(worktree, run)
    ended.add(run.id)
  }
  // Trees that exist count in another process too.
  const others = treesOf(git, repository.state, { max: 2 })
  for (const each of [trees, others])
    await expect(each.plan(task(), repository.root)).rejects.toThrow('has 2 worktrees')
  repository.git(['worktree', 'remove', made[0]?.worktree.root ?? ''])
  expect(await others.plan(task(), repository.root)).toMatchObject({ checkout: repository.root })
})

test('a launch that failed, or whose task ended before its turn, does not count for the limit', async () => {
  const repository = createRepository()
  const ended = new Set<string>()
  const trees = treesOf(git, repository.state, { max: 1, ports: { hasEnded: (id) => ended.has(id) } })
  const discarded = task()
  await trees.discard(await trees.plan(discarded, repository.root), discarded)
  const cancelled = task()
  await trees.plan(cancelled, repository.root)
  ended.add(cancelled.id)
  expect(await trees.plan(task(), repository.root)).toMatchObject({ checkout: repository.root })
})

test('a launch on a disk with less than 2 GB of free space is refused', async () => {
  const repository = createRepository()
  const refs = repository.refs()
  const trees = treesOf(git, repository.state, { ports: { freeBytes: () => Promise.resolve(1_900_000_000) } })
  await expect(trees.plan(task(), repository.root)).rejects.toThrow(
    'has 1.9 GB free, and a worktree needs 2; free some, or set worktree.directory',
  )
  expect(repository.refs()).toEqual(refs)
})

test('ten launches at once get ten trees, and leave no lock', async () => {
  const repository = createRepository()
  const { worktrees } = repository
  repository.git(['remote', 'add', 'origin', repository.root])
  repository.git(['fetch', '--quiet', 'origin'])
  repository.git(['branch', '--quiet', '--set-upstream-to=origin/main'])
  repository.write('dirty.txt', 'dirty\n')
  const before = repository.standing()
  // Two managers know nothing of each other's calls.
  const others = treesOf(git, repository.state)
  const runs = Array.from({ length: 10 }, () => task())
  const trees = await Promise.all(
    runs.map(async (run, position) => {
      const own = position % 2 === 0 ? worktrees : others
      const worktree = await own.plan(run, repository.root)
      await own.open(worktree, run)
      return worktree
    }),
  )
  for (const { root } of trees) expect(repository.read('dirty.txt', root)).toBe('dirty\n')
  expect(locksOf(repository)).toEqual([])
  expect(repository.standing()).toEqual(before)
  const ends = await Promise.all(
    trees.map((tree, position) => worktrees.close(tree, runs[position] ?? task())),
  )
  expect(ends).toEqual(runs.map(() => ({ type: 'none' })))
  expect(repository.git(['branch', '--list', 'opencode-background/*'])).toBe('')
})

test('of two writers of one file the first applies, and the second is forecast as a conflict once that is done', async () => {
  const repository = createRepository()
  const [one, two] = [task(), task()]
  const trees = await Promise.all([one, two].map((run) => repository.worktrees.plan(run, repository.root)))
  const [first, second] = trees
  if (!first || !second) throw new Error('no trees')
  await Promise.all([repository.worktrees.open(first, one), repository.worktrees.open(second, two)])
  repository.write('README.md', '# By one\n', first.root)
  repository.write('README.md', '# By two\n', second.root)
  expect(await repository.worktrees.close(first, one)).toMatchObject({ conflicts: [] })
  repository.write('README.md', '# By one\n')
  expect(await repository.worktrees.close(second, two)).toMatchObject({ conflicts: ['README.md'] })
})

test('an unchanged tree into which a file is written while it is removed stays', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  const late = treesOf((directory, args, options) => {
    if (args.includes('remove')) repository.write('late.txt', 'late\n', worktree.root)
    return git(directory, args, options)
  }, repository.state)
  expect(await late.close(worktree, run)).toMatchObject({
    type: 'kept',
    why: expect.stringContaining('contains modified or untracked') as unknown,
  })
  expect(repository.read('late.txt', worktree.root)).toBe('late\n')
})

test('a directory that is no tree any more is never committed to a repository around it', async () => {
  const repository = createRepository()
  repository.write('.gitignore', 'state/\n')
  const run = task()
  const within = treesOf(git, join(repository.root, 'state'))
  const worktree = await within.plan(run, repository.root)
  await within.open(worktree, run)
  rmSync(join(worktree.root, '.git'))
  const before = repository.git(['rev-parse', 'HEAD'])
  expect(await within.close(worktree, run)).toMatchObject({
    type: 'failed',
    message: expect.stringContaining('is no worktree any more') as unknown,
  })
  expect(repository.git(['rev-parse', 'HEAD'])).toBe(before)
})

test('the next run has its tree again, made from its branch if it is gone', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'one\n', worktree.root)
  await repository.worktrees.close(worktree, run)
  repository.git(['worktree', 'remove', worktree.root])
  await repository.worktrees.open(worktree, run)
  expect(repository.read('page.txt', worktree.root)).toBe('one\n')
  repository.write('page.txt', 'two\n', worktree.root)
  expect(await repository.worktrees.close(worktree, { ...run, run: 2 })).toMatchObject({
    commits: 2,
    files: 1,
  })
})

test('a file that changes in the moment of the index, and keeps its size, is in the commit', async () => {
  const repository = createRepository()
  // A clock of whole seconds.
  repository.git(['config', 'core.checkStat', 'minimal'])
  repository.git(['config', 'core.trustCtime', 'false'])
  const second = 1_700_000_000
  const setTime = (path: string): void => utimesSync(join(repository.root, path), second, second)
  setTime('README.md')
  repository.git(['add', 'README.md'])
  repository.write('README.md', '# A PROJECT\n')
  setTime('README.md')
  setTime('.git/index')
  const { base } = await repository.worktrees.plan(task(), repository.root)
  expect(repository.git(['show', `${base.commit}:README.md`])).toBe('# A PROJECT\n')
})

test('a tree is locked while its task is unfinished, with the id of the task and its process', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  const list = (): string => repository.git(['worktree', 'list', '--porcelain', '-z'])
  const lock = new RegExp(`locked opencode-background ${run.id} \\{.*"pid":${process.pid},.*\\}\0`)
  expect(list()).toMatch(lock)
  repository.write('page.txt', 'one\n', worktree.root)
  await repository.worktrees.close(worktree, run)
  expect(list()).not.toContain('locked')
})

test('a commit that fails keeps the files, and says why', async () => {
  const repository = createRepository()
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  repository.write('page.txt', 'one\n', worktree.root)
  const full = treesOf((directory, args, options) => {
    if (args[0] === 'commit-tree') return Promise.reject(new Error('No space left on device'))
    return git(directory, args, options)
  }, repository.state)
  expect(await full.close(worktree, run)).toEqual({ type: 'failed', message: 'No space left on device' })
  expect(repository.read('page.txt', worktree.root)).toBe('one\n')
})

test.each([
  { where: 'no repository', make: () => temporary(), why: 'is not in a git repository' },
  {
    where: 'a bare repository',
    make: () => {
      const repository = createRepository()
      const { root } = repository
      repository.git(['clone', '--quiet', '--bare', root, `${root}.git`])
      return `${root}.git`
    },
    why: 'bare repository',
  },
  {
    where: 'a repository without a commit',
    make: () => {
      const repository = createRepository()
      const { root } = repository
      repository.git(['init', '--quiet', `${root}-empty`])
      return `${root}-empty`
    },
    why: 'has no commit yet; commit first',
  },
  {
    where: 'a repository of another user',
    make: () => {
      const { root } = createRepository()
      vi.stubEnv('GIT_TEST_ASSUME_DIFFERENT_OWNER', '1')
      return root
    },
    why: 'allow it with `git config --global --add safe.directory /',
  },
  {
    where: 'a repository with a broken configuration',
    make: () => {
      const repository = createRepository()
      repository.write('.git/config', '[broken')
      return repository.root
    },
    why: 'git rev-parse: bad config line',
  },
  {
    where: 'a repository whose branch has the name of the folder of our branches',
    make: () => {
      const repository = createRepository()
      repository.git(['branch', 'opencode-background'])
      return repository.root
    },
    why: 'rename it with `git branch -m opencode-background NAME`',
  },
  {
    where: 'a checkout with a new repository in it',
    make: () => {
      const repository = createRepository()
      repository.git(['init', '--quiet', 'new'])
      repository.write('new/page.txt', 'new\n')
      return repository.root
    },
    why: 'commit in that repository, or add it to .gitignore',
  },
])('a launch in $where is refused', async ({ make, why }) => {
  const directory = make()
  const worktrees = treesOf(git, `${directory}-state`)
  await expect(worktrees.plan(task(), directory)).rejects.toThrow(why)
  await expect(worktrees.plan(task(), directory)).rejects.toMatchObject({ name: 'GitError' })
})

test('a launch without git, or with an old one, is refused', async () => {
  const { root, state } = createRepository()
  const old = treesOf(() => Promise.resolve({ code: 0, stdout: 'git version 2.37.9 (Apple Git-1)\n' }), state)
  await expect(old.plan(task(), root)).rejects.toThrow('git 2.37.9 is too old; 2.38 or newer is needed')
  const path = process.env['PATH']
  process.env['PATH'] = root
  try {
    await expect(treesOf(git, state).plan(task(), root)).rejects.toThrow('there is no git; install it')
  } finally {
    process.env['PATH'] = path
  }
})

test('a tree has what OpenCode has installed for the checkout, and is removed with it', async () => {
  const repository = createRepository()
  repository.write('.opencode/opencode.json', '{}\n')
  repository.write('.opencode/.gitignore', 'node_modules\npackage.json\npackage-lock.json\n')
  repository.write('.opencode/package-lock.json', '{}\n')
  repository.write('.opencode/node_modules/plugin/index.js', 'export {}\n')
  const run = task()
  const worktree = await repository.worktrees.plan(run, repository.root)
  await repository.worktrees.open(worktree, run)
  expect(repository.read('.opencode/node_modules/plugin/index.js', worktree.root)).toBe('export {}\n')
  expect(repository.read('.opencode/package-lock.json', worktree.root)).toBe('{}\n')
  expect(await repository.worktrees.close(worktree, run)).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
})

test('a tree without a folder of OpenCode gets none, and one further down what is installed there', async () => {
  const repository = createRepository()
  repository.write('.gitignore', '.opencode/\n')
  repository.write('web/.opencode/package.json', '{}\n')
  repository.write('web/.opencode/agent.md', 'An agent.\n')
  repository.git(['add', '--force', 'web/.opencode/agent.md'])
  repository.commit()
  repository.write('.opencode/node_modules/plugin/index.js', 'export {}\n')
  const run = task()
  const worktree = await repository.worktrees.plan(run, `${repository.root}/web`)
  await repository.worktrees.open(worktree, run)
  expect(existsSync(`${worktree.root}/.opencode`)).toBe(false)
  expect(repository.read('web/.opencode/package.json', worktree.root)).toBe('{}\n')
  expect(await repository.worktrees.close(worktree, run)).toEqual({ type: 'none' })
})
