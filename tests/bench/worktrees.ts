/**
 * Measures worktrees beside bare git, in turns, in a repository whose checkout has staged, changed, deleted and new files.
 * Each sample checks that the tree has the files of the checkout.
 */
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemClock } from '../../src/clock.ts'
import { parseOptions } from '../../src/config.ts'
import { systemOwners } from '../../src/task/owner.ts'
import { checkoutOf, OWN_IDENTITY, snapshot } from '../../src/worktree/checkout.ts'
import { git } from '../../src/worktree/git.ts'
import { Worktrees } from '../../src/worktree/worktrees.ts'
import { median, round } from './numbers.ts'
import type { Table } from './results.ts'

const run = promisify(execFile)

const DIRECTORIES = 100
const FILE_BYTES = 2000
const IDENTITY = ['-c', 'user.name=Bench', '-c', 'user.email=bench@localhost']

/** The times of a way, in milliseconds. */
interface Samples {
  readonly snapshot: number[]
  readonly tree: number[]
  readonly removal: number[]
}

export interface WorktreeFigures {
  readonly table: Table
  /** Ours against bare git, by medians. */
  readonly snapshotRatio: number
  readonly treeRatio: number
}

/** @param files number of files of the repository */
export async function worktreesBesideGit(files: number, rounds: number): Promise<WorktreeFigures> {
  const home = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-worktrees-')))
  try {
    const root = await repositoryOf(join(home, 'project'), files)
    const ways = [await bareGit(root, home), ours(root, home)]
    const samples = new Map<Way, Samples>(ways.map((way) => [way, { snapshot: [], tree: [], removal: [] }]))
    // The first tree of each reads the objects from the disk.
    for (const way of ways) await way(-1, { snapshot: [], tree: [], removal: [] })
    for (let index = 0; index < rounds; index += 1)
      for (const way of index % 2 === 0 ? ways : ways.toReversed())
        await way(index, samples.get(way) as Samples)
    const [bare, own] = ways.map((way) => samples.get(way) as Samples) as [Samples, Samples]
    const row = (figure: string, by: keyof Samples): Table['rows'][number] => ({
      [`${files} files, median of ${rounds}`]: figure,
      'bare git, ms': round(median(bare[by]), 1),
      'ours, ms': round(median(own[by]), 1),
      ratio: round(median(own[by]) / median(bare[by]), 2),
    })
    const rows = [
      row('the state of the checkout, as a tree object and as a commit of ours', 'snapshot'),
      row('a worktree with that state, from the launch on', 'tree'),
      row('its removal, unchanged', 'removal'),
    ]
    return {
      table: { title: `Worktrees of ${files} files`, rows },
      snapshotRatio: median(own.snapshot) / median(bare.snapshot),
      treeRatio: median(own.tree) / median(bare.tree),
    }
  } finally {
    rmSync(home, { recursive: true, maxRetries: 5 })
  }
}

type Way = (index: number, samples: Samples) => Promise<void>

/** The commands that somebody would type. */
async function bareGit(root: string, home: string): Promise<Way> {
  const { stdout } = await run('git', ['rev-parse', '--git-path', 'index'], { cwd: root })
  const index = join(root, stdout.trim())
  return async (nth, samples) => {
    const copy = join(home, `index-${nth}`)
    const own = { cwd: root, env: { ...process.env, GIT_INDEX_FILE: copy } }
    const store = async (): Promise<string> => {
      copyFileSync(index, copy)
      await run('git', ['add', '--all'], own)
      return (await run('git', ['write-tree'], own)).stdout.trim()
    }
    samples.snapshot.push((await timed(store)).ms)
    const path = join(home, `bare-${nth}`)
    const tree = await timed(async () => {
      const state = await store()
      const commit = [...IDENTITY, 'commit-tree', '-p', 'HEAD', '-m', 'The state', state]
      const { stdout: id } = await run('git', commit, { cwd: root })
      await run('git', ['worktree', 'add', '--quiet', '--no-track', '-b', `bare-${nth}`, path, id.trim()], {
        cwd: root,
      })
    })
    samples.tree.push(tree.ms)
    await checkTree(path, root)
    const removal = await timed(async () => {
      await run('git', ['add', '--all'], { cwd: path })
      await run('git', ['status', '--porcelain', '--ignored'], { cwd: path })
      await run('git', ['worktree', 'remove', path], { cwd: root })
      await run('git', ['branch', '--quiet', '-D', `bare-${nth}`], { cwd: root })
    })
    samples.removal.push(removal.ms)
  }
}

function ours(root: string, home: string): Way {
  const ended = new Set<string>()
  const hasEnded = (id: string): boolean => ended.has(id)
  const { worktree: options } = parseOptions({}).options
  const owners = systemOwners('bench', root)
  const places = { git, directory: join(home, 'trees'), owners, clock: systemClock }
  const trees = new Worktrees({ ...places, hasEnded, isUsed: (id) => !hasEnded(id) }, options)
  return async (nth, samples) => {
    // Bare git knows before where the index is, too.
    const checkout = await checkoutOf(git, root)
    const store = (): Promise<unknown> =>
      snapshot(git, checkout, { message: 'The state', identity: OWN_IDENTITY })
    samples.snapshot.push((await timed(store)).ms)
    const task = { id: `bg_${(nth + 1).toString(16).padStart(8, '0')}`, run: 1, description: 'Bench' }
    const tree = await timed(async () => {
      const planned = await trees.plan(task, root)
      await trees.open(planned, task)
      return planned
    })
    samples.tree.push(tree.ms)
    await checkTree(tree.result.root, root)
    const removal = await timed(() => trees.close(tree.result, task))
    if (removal.result.type !== 'none')
      throw new Error(`The tree was kept: ${JSON.stringify(removal.result)}`)
    ended.add(task.id)
    samples.removal.push(removal.ms)
  }
}

async function timed<Result>(
  work: () => Promise<Result>,
): Promise<{ readonly ms: number; readonly result: Result }> {
  const begun = performance.now()
  const result = await work()
  return { ms: performance.now() - begun, result }
}

/** Creates a repository whose checkout has changes of each kind, and returns its path. */
async function repositoryOf(root: string, files: number): Promise<string> {
  const name = (index: number): string => join(root, `d${index % DIRECTORIES}`, `f${index}.txt`)
  for (let index = 0; index < DIRECTORIES; index += 1) mkdirSync(join(root, `d${index}`), { recursive: true })
  for (let index = 0; index < files; index += 1)
    writeOld(name(index), `${index}\n`.repeat(FILE_BYTES / `${index}\n`.length))
  const inside = (...args: readonly string[]): Promise<unknown> => run('git', [...args], { cwd: root })
  await inside('init', '--quiet', '--initial-branch=main')
  await inside('add', '--all')
  await inside(...IDENTITY, 'commit', '--quiet', '--message', 'First')
  for (const index of [0, 1, 2]) writeFileSync(name(index), 'changed\n')
  await inside('add', name(0))
  rmSync(name(3))
  for (const index of [files, files + 1, files + 2]) writeFileSync(name(index), 'new\n')
  return root
}

/** Writes a file as of an hour ago: git reads files again that are as new as its index. */
function writeOld(path: string, text: string): void {
  writeFileSync(path, text)
  const hourAgo = Date.now() / 1000 - 3600
  utimesSync(path, hourAgo, hourAgo)
}

/** Throws if the files of a tree are not those of the checkout. */
async function checkTree(tree: string, root: string): Promise<void> {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  const [there, here, deleted] = await Promise.all([
    run('git', list, { cwd: tree, maxBuffer: 2 ** 28 }),
    run('git', list, { cwd: root, maxBuffer: 2 ** 28 }),
    run('git', ['ls-files', '--deleted', '-z'], { cwd: root }),
  ])
  const gone = new Set(deleted.stdout.split('\0'))
  const expected = here.stdout.split('\0').filter((path) => !gone.has(path))
  if (there.stdout.split('\0').filter(Boolean).toSorted().join('\0') !== expected.toSorted().join('\0'))
    throw new Error(`The worktree ${tree} has other files than the checkout`)
}
