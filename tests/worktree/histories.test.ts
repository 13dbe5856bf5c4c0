/**
 * Random histories on real repositories: a parent and three agents edit, commit and delete files, runs end and are applied,
 * and OpenCode is killed at any call of git. No version of a file is lost that stood on disk at the end of a run, at a kill or
 * before an apply.
 *
 * WORKTREE_HISTORIES: how many; WORKTREE_SEED: of which seed.
 */
import fc from 'fast-check'
import { deepEqual, equal, match } from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Changes } from '../../src/task/task.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { git } from '../../src/worktree/git.ts'
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
  /** Starts or ends a run of an agent, or applies its last end; `killedAt`: the call of git at which OpenCode is killed. */
  | { readonly type: 'open' | 'close' | 'apply'; readonly who: number; readonly killedAt: number }
  /** Removes the directory of an agent that is not at work. */
  | { readonly type: 'remove'; readonly who: number }

const NAMES = ['a.txt', 'b.txt', 'a dir/ü 文.txt', 'deep/er/c.txt']

const BLOCKS = 3
const EMPTY = Array.from({ length: BLOCKS }, (_, block) => `${block}\n`.repeat(8)).join('--\n')

const who = fc.nat(AGENTS - 1)
const anyone = fc.nat(AGENTS)
const file = fc.nat(NAMES.length - 1)
const killedAt = fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.nat(24))

const edit = { file, block: fc.nat(BLOCKS - 1), text: fc.nat(9) }
const call = (type: 'open' | 'close' | 'apply'): fc.Arbitrary<Step> =>
  fc.record({ type: fc.constant(type), who, killedAt })

/** A whole run with one change, or one step. */
const some: fc.Arbitrary<readonly Step[]> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({ ...edit, who, killedAt })
      .map(({ who: agent, killedAt: last, ...change }): readonly Step[] => [
        { type: 'open', who: agent, killedAt: Infinity },
        { type: 'write', who: agent, ...change },
        { type: 'close', who: agent, killedAt: last },
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
    fc.record({ type: fc.constant('remove' as const), who }),
  ].map((arbitrary: fc.Arbitrary<Step>) => arbitrary.map((step): readonly Step[] => [step])),
)

const steps = fc.array(some, { minLength: 6, maxLength: 16 }).map((parts) => parts.flat())

interface Agent {
  readonly run: ReturnType<typeof task>
  worktree: Worktree | undefined
  isAtWork: boolean
  changes: Changes | undefined
}

function repositoryWithFiles(): Repository {
  const repository = createRepository()
  for (const name of NAMES) repository.write(name, EMPTY)
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
  }))
  /** The versions that must be reachable at the end, by hash, with where each stood. */
  readonly #versions = new Map<string, string>()
  #worktrees = treesOf(git, this.#repository.state)

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
        if (agent && !agent.isAtWork && agent.changes?.type === 'committed' && this.#isTree(root))
          rmSync(root, { recursive: true })
        break
      default:
        if (agent) await this.#call(agent, step)
    }
  }

  /** Ends all runs, and resolves with the versions that are lost. */
  async lost(): Promise<string[]> {
    for (const agent of this.#agents) if (agent.worktree) await this.#close(agent)
    deepEqual(locksOf(this.#repository), [])
    const kept = new Set(this.#repository.git(['rev-list', '--objects', '--all', '--reflog']).match(/^\w+/gm))
    const onDisk = [this.#repository.root, ...this.#agents.map(({ worktree }) => worktree?.root)]
    for (const root of onDisk)
      if (this.#isTree(root)) for (const [hash] of this.#filesOf(root)) kept.add(hash)
    return [...this.#versions].flatMap(([hash, where]) => (kept.has(hash) ? [] : [where]))
  }

  async #call(agent: Agent, { type, killedAt: last }: Extract<Step, { killedAt: number }>): Promise<void> {
    let calls = 0
    this.#worktrees = treesOf((directory, args, options) => {
      calls += 1
      return calls > last ? Promise.reject(new Error('killed')) : git(directory, args, options)
    }, this.#repository.state)
    const standing = this.#repository.standing()
    if (type === 'apply') await this.#apply(agent)
    else {
      if (type === 'open') await this.#open(agent)
      else if (agent.isAtWork) await this.#close(agent)
      deepEqual(this.#repository.standing(), standing)
    }
    this.#worktrees = treesOf(git, this.#repository.state)
    if (calls <= last) return
    // The next OpenCode finds the tasks.
    const atWork = this.#agents.filter(({ isAtWork }) => isAtWork)
    this.#remember(`at a kill of ${type}`, atWork)
    for (const each of atWork) await this.#close(each)
  }

  async #open(agent: Agent): Promise<void> {
    if (agent.isAtWork) return
    try {
      agent.worktree ??= await this.#worktrees.plan(agent.run, this.#repository.root)
      await this.#worktrees.open(agent.worktree, agent.run)
      agent.isAtWork = true
    } catch (error) {
      match(String(error), /killed/)
    }
  }

  async #close(agent: Agent): Promise<void> {
    if (!agent.worktree) return
    this.#remember('at the end of a run', [agent])
    agent.changes = await this.#worktrees.close(agent.worktree, agent.run)
    if (agent.changes.type === 'failed') match(agent.changes.message, /killed/)
    agent.isAtWork = agent.changes.type === 'failed'
  }

  async #apply({ run, worktree, changes }: Agent): Promise<void> {
    if (!worktree || changes?.type !== 'committed') return
    const { root } = this.#repository
    const before = this.#filesOf(root)
    const { index } = this.#repository.standing()
    try {
      await this.#worktrees.apply(worktree, run, changes.commit, false)
    } catch (error) {
      match(String(error), /killed|patch does not apply|already exists/)
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
      .filter((path) => !path.slice(root.length).startsWith('/.git'))
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
