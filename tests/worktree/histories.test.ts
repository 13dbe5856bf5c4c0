/**
 * Random histories on real repositories: a parent and two agents edit, commit, merge and delete files, runs end, go on, are
 * applied and cleaned up, the disk is full for git, and OpenCode is killed at any call of git. No version of a file is lost that
 * stood on disk at the end of a run, at a kill, before an apply or before a clean-up, and no ignored file of an agent.
 *
 * WORKTREE_HISTORIES: how many; WORKTREE_SEED: of which seed (`npm run fuzz -- --worktrees`).
 */
import fc from 'fast-check'
import { deepEqual, equal, match } from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Changes } from '../../src/task/state.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { systemOwners } from '../../src/task/owner.ts'
import { git, type Git } from '../../src/worktree/git.ts'
import type { Worktrees } from '../../src/worktree/worktrees.ts'
import {
  type Repository,
  createRepository,
  hashOf,
  locksOf,
  removeRepositories,
  task,
  treesOf,
} from './repository.ts'

const COUNT = Number(process.env['WORKTREE_HISTORIES'] ?? 8)
const SEED = Number(process.env['WORKTREE_SEED'] ?? 18)
const AGENTS = 2

/**
 * Starts or ends a run of an agent, applies its last end, or cleans up after all. `killedAt`: the call of git at which OpenCode is
 * killed; `fullAt`: the one from which on the disk is full.
 */
interface Call {
  readonly type: 'open' | 'close' | 'apply' | 'clean'
  readonly who: number
  readonly killedAt: number
  readonly fullAt: number
}

type Step =
  /** Changes one block of lines: changes of others to other blocks merge with it. */
  | {
      readonly type: 'write'
      readonly who: number
      readonly file: number
      readonly block: number
      readonly text: number
    }
  | { readonly type: 'delete'; readonly who: number; readonly file: number }
  | { readonly type: 'commit' | 'stage'; readonly who: number }
  /** Writes a file that git ignores. */
  | { readonly type: 'ignored'; readonly who: number; readonly text: number }
  /** Merges the branch of an agent into the checkout of the parent. */
  | { readonly type: 'merge'; readonly who: number }
  | Call
  /** Removes the directory of an agent that is not at work. */
  | { readonly type: 'remove'; readonly who: number }

const NAMES = ['a.txt', 'b.txt', 'a dir/ü 文.txt', 'deep/er/c.txt']

/** The ignored file of an agent. */
const IGNORED = 'out/result'

const BLOCKS = 3
const EMPTY = Array.from({ length: BLOCKS }, (_, block) => `${block}\n`.repeat(8)).join('--\n')

const who = fc.nat(AGENTS - 1)
const anyone = fc.nat(AGENTS)
const file = fc.nat(NAMES.length - 1)
const killedAt = fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.nat(24))

const fullAt = fc.oneof({ weight: 6, arbitrary: fc.constant(Infinity) }, fc.nat(24))

const edit = { file, block: fc.nat(BLOCKS - 1), text: fc.nat(9) }
const call = (type: Call['type']): fc.Arbitrary<Step> =>
  fc.record({ type: fc.constant(type), who, killedAt, fullAt })
const one = (step: Step): readonly Step[] => [step]
const calm = { killedAt: Infinity, fullAt: Infinity }

/** A whole run with one change, or with another one after it and a clean-up, or one step. */
const some: fc.Arbitrary<readonly Step[]> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({ ...edit, who, killedAt })
      .map(({ who: agent, killedAt: last, ...change }): readonly Step[] => [
        { type: 'open', who: agent, ...calm },
        { type: 'write', who: agent, ...change },
        { type: 'close', who: agent, ...calm, killedAt: last },
      ]),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        who,
        file,
        texts: fc.tuple(fc.nat(9), fc.nat(9)),
        taken: fc.constantFrom('apply', 'merge'),
        killedAt,
        fullAt,
      })
      .map(({ who: agent, file: index, texts: [text, late], taken, ...limits }): readonly Step[] => [
        { type: 'open', who: agent, ...calm },
        { type: 'write', who: agent, file: index, block: 0, text },
        { type: 'close', who: agent, ...calm },
        taken === 'merge' ? { type: 'merge', who: agent } : { type: 'apply', who: agent, ...calm },
        { type: 'write', who: agent, file: index, block: 1, text: late },
        { type: 'clean', who: agent, ...limits },
      ]),
  },
  ...[
    fc.record({ type: fc.constant('write' as const), who: anyone, ...edit }),
    fc.record({ type: fc.constant('write' as const), who: fc.constant(AGENTS), ...edit }),
    fc.record({ type: fc.constant('delete' as const), who: anyone, file }),
    fc.record({ type: fc.constantFrom('commit' as const, 'stage' as const), who: anyone }),
    call('open'),
    call('close'),
    call('apply'),
    call('apply'),
    call('clean'),
    call('clean'),
    fc.record({ type: fc.constant('merge' as const), who }),
    fc.record({ type: fc.constant('ignored' as const), who, text: fc.nat(9) }),
    fc.record({ type: fc.constant('remove' as const), who }),
  ].map((arbitrary: fc.Arbitrary<Step>) => arbitrary.map(one)),
)

const steps = fc.array(some, { minLength: 6, maxLength: 16 }).map((parts) => parts.flat())

/** The calls of git that write objects or files. */
const WRITES = new Set(['add', 'write-tree', 'commit-tree', 'update-ref', 'worktree', 'reset', 'apply'])
const FULL = 'No space left on device'
const EXPECTED = new RegExp(`killed|${FULL}`)
/** Later than `keepDays`, and before the refs of a task go. */
const LATER_MS = 8 * 24 * 60 * 60 * 1000

interface Agent {
  run: ReturnType<typeof task>
  worktree: Worktree | undefined
  isAtWork: boolean
  changes: Changes | undefined
  /** The content of its ignored file. */
  ignored: string | undefined
}

function repositoryWithFiles(): Repository {
  const repository = createRepository()
  for (const name of NAMES) repository.write(name, EMPTY)
  repository.write('.gitignore', 'out/\n')
  repository.commit()
  return repository
}

class History {
  readonly #repository: Repository = repositoryWithFiles()
  readonly #agents: Agent[] = Array.from({ length: AGENTS }, (_, index) => ({
    run: task(`agent ${index}`),
    worktree: undefined,
    isAtWork: false,
    changes: undefined,
    ignored: undefined,
  }))
  /** The versions that must be reachable at the end, by hash, with where each stood. */
  readonly #versions = new Map<string, string>()
  #worktrees = this.#treesOf(git)

  async play(step: Step): Promise<void> {
    const agent = this.#agents[step.who]
    // The one after the agents is the parent.
    const root = agent ? agent.worktree?.root : this.#repository.root
    switch (step.type) {
      case 'write':
        if (this.#isTree(root)) this.#write(root, step)
        break
      case 'delete':
        if (this.#isTree(root)) rmSync(join(root, NAMES[step.file] ?? ''), { force: true })
        break
      case 'commit':
        if (this.#isTree(root)) this.#commit(root)
        break
      case 'stage':
        if (this.#isTree(root)) this.#repository.git(['add', '--all'], root)
        break
      case 'remove':
        if (agent && !agent.isAtWork && agent.changes?.type === 'committed' && this.#isTree(root)) {
          rmSync(root, { recursive: true })
          agent.ignored = undefined
        }
        break
      case 'ignored':
        if (agent && this.#isTree(root)) {
          agent.ignored = `${step.text}`
          this.#repository.write(IGNORED, agent.ignored, root)
        }
        break
      case 'merge':
        if (agent?.worktree) this.#merge(agent.worktree.branch)
        break
      default:
        if (agent) await this.#call(agent, step)
    }
  }

  /** Ends all runs, and resolves with the versions that are lost. */
  async lost(): Promise<string[]> {
    for (const agent of this.#agents) if (agent.worktree) await this.#close(agent)
    deepEqual(locksOf(this.#repository), [])
    const kept = new Set(this.#repository.git(['rev-list', '--objects', '--all']).match(/^\w+/gm))
    const onDisk = [this.#repository.root, ...this.#agents.map(({ worktree }) => worktree?.root)]
    for (const root of onDisk)
      if (this.#isTree(root)) for (const [hash] of this.#filesOf(root)) kept.add(hash)
    return [...this.#versions].flatMap(([hash, where]) => (kept.has(hash) ? [] : [where]))
  }

  async #call(agent: Agent, { type, killedAt: last, fullAt: full }: Call): Promise<void> {
    let calls = 0
    const failing: Git = (directory, args, options) => {
      calls += 1
      if (calls > last) return Promise.reject(new Error('killed'))
      const isFull = calls > full && WRITES.has(args[0] ?? '')
      return isFull ? Promise.reject(new Error(FULL)) : git(directory, args, options)
    }
    this.#worktrees = this.#treesOf(failing)
    const standing = this.#repository.standing()
    if (type === 'apply') await this.#apply(agent)
    else {
      if (type === 'open') await this.#open(agent)
      else if (type === 'clean') await this.#clean()
      else if (agent.isAtWork) await this.#close(agent)
      deepEqual(this.#repository.standing(), standing)
    }
    this.#worktrees = this.#treesOf(git)
    if (calls <= last) return
    // The next OpenCode finds the tasks.
    const atWork = this.#agents.filter(({ isAtWork }) => isAtWork)
    this.#remember(`at a kill of ${type}`, atWork)
    for (const each of atWork) await this.#close(each)
  }

  /** Trees of a process that finds all others gone, 8 days later. */
  #treesOf(by: Git): Worktrees {
    const isUsed = (root: string): boolean =>
      this.#agents.some(({ worktree, isAtWork }) => isAtWork && worktree?.root === root)
    const owners = { ...systemOwners('histories', '/project'), isGone: () => true }
    const clock = { now: () => Date.now() + LATER_MS }
    return treesOf(by, this.#repository.state, { ports: { isUsed, owners, clock } })
  }

  async #open(agent: Agent): Promise<void> {
    if (agent.isAtWork) return
    try {
      agent.worktree ??= await this.#worktrees.plan(agent.run, this.#repository.root)
      if (agent.changes) agent.run = { ...agent.run, run: agent.run.run + 1 }
      agent.changes = undefined
      await this.#worktrees.open(agent.worktree, agent.run)
      agent.isAtWork = true
    } catch (error) {
      match(String(error), EXPECTED)
    }
  }

  async #close(agent: Agent): Promise<void> {
    if (!agent.worktree) return
    this.#remember('at the end of a run', [agent])
    agent.changes = await this.#worktrees.close(agent.worktree, agent.run)
    if (agent.changes.type === 'failed') match(agent.changes.message, EXPECTED)
    agent.isAtWork = agent.changes.type === 'failed'
    const isIgnoredKept = agent.changes.type === 'kept' && EXPECTED.exec(agent.changes.why) === null
    if (isIgnoredKept) deepEqual(agent.changes, { type: 'kept', why: 'it has ignored files: out/' })
    this.#checkIgnored()
  }

  async #clean(): Promise<void> {
    const trees = this.#agents.flatMap(({ worktree }) => (worktree ? [worktree.root] : []))
    const before = trees.flatMap((root) => (this.#isTree(root) ? this.#filesOf(root) : []))
    const hadIgnored = this.#agents.filter(({ ignored }) => ignored !== undefined)
    const kept = await this.#worktrees
      .clean(this.#repository.root, new AbortController().signal)
      .catch((error: unknown) => [String(error)])
    for (const why of kept) {
      const isOurs = hadIgnored.some(
        ({ worktree }) => why === `${worktree?.root} is kept: it has ignored files: out/`,
      )
      if (!isOurs) match(why, /killed|No space left|has commits that its worktree lacks/)
    }
    const after = trees.flatMap((root) => (this.#isTree(root) ? this.#filesOf(root) : []))
    const left = new Set(after.map(([hash]) => hash))
    // The agents themselves may replace what no clean-up has touched.
    for (const [hash, path] of before) if (!left.has(hash)) this.#note(hash, `${path} before a clean-up`)
    this.#checkIgnored()
  }

  /** Checks that each ignored file of an agent is where that has written it. */
  #checkIgnored(): void {
    for (const { worktree, ignored } of this.#agents)
      if (worktree && ignored !== undefined) equal(this.#repository.read(IGNORED, worktree.root), ignored)
  }

  #merge(branch: string): void {
    const repository = this.#repository
    try {
      repository.git(['merge', '--quiet', '--no-edit', branch])
    } catch {
      // Its changes conflict with those of the parent, or the branch is gone.
      try {
        repository.git(['merge', '--abort'])
      } catch {
        // It has not begun.
      }
    }
  }

  async #apply({ run, worktree, changes }: Agent): Promise<void> {
    if (!worktree || changes?.type !== 'committed') return
    const { root } = this.#repository
    const before = this.#filesOf(root)
    const { index } = this.#repository.standing()
    try {
      await this.#worktrees.apply(worktree, run, changes.commit, false)
    } catch (error) {
      match(String(error), /killed|No space left|patch does not apply|already exists/)
    }
    equal(this.#repository.standing().index, index)
    // The parent itself may replace what no apply has touched.
    const after = new Set(this.#filesOf(root).map(([hash]) => hash))
    for (const [hash, path] of before)
      if (!after.has(hash)) this.#note(hash, `${path} of the parent before an apply`)
  }

  #write(root: string, { file: index, block, text }: Extract<Step, { type: 'write' }>): void {
    const name = NAMES[index] ?? ''
    const before = existsSync(join(root, name)) ? this.#repository.read(name, root) : EMPTY
    const blocks = before.split('--\n').with(block, `${text}\n`.repeat(8))
    this.#repository.write(name, blocks.join('--\n'), root)
  }

  #commit(root: string): void {
    this.#repository.git(['add', '--all'], root)
    this.#repository.git(['commit', '--quiet', '--allow-empty', '--message', 'By hand'], root)
  }

  /** Notes the files of trees. */
  #remember(when: string, agents: readonly Agent[]): void {
    for (const { run, worktree } of agents)
      if (this.#isTree(worktree?.root))
        for (const [hash, path] of this.#filesOf(worktree.root))
          this.#note(hash, `${path} of ${run.id} ${when}`)
  }

  #note(hash: string, where: string): void {
    if (!this.#versions.has(hash)) this.#versions.set(hash, where)
  }

  #isTree(root: string | undefined): root is string {
    return root !== undefined && existsSync(join(root, '.git'))
  }

  #filesOf(root: string): [hash: string, path: string][] {
    const paths = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !/^\/(?:\.git$|\.git\/|out\/)/.test(path.slice(root.length)))
    return paths.map((path) => [hashOf(readFileSync(path)), path.slice(root.length + 1)])
  }
}

test('random histories lose no version of a file', async () => {
  let closed = 0
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      try {
        const played = new History()
        for (const step of history) await played.play(step)
        expect(await played.lost()).toEqual([])
        closed += 1
      } finally {
        removeRepositories()
      }
    }),
    { numRuns: COUNT, seed: SEED, endOnFailure: COUNT > 100 },
  )
  expect(closed).toBeGreaterThanOrEqual(COUNT)
})
