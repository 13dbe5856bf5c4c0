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
import { Worktrees } from '../../src/worktree/worktrees.ts'
import { createRepository, hashOf, locksOf, removeRepositories, task, type Repository } from './repository.ts'

const COUNT = Number(process.env['WORKTREE_HISTORIES'] ?? 8)
const SEED = Number(process.env['WORKTREE_SEED'] ?? 18)
const AGENTS = 3

type Step =
  | { readonly type: 'write'; readonly who: number; readonly file: number; readonly text: number }
  | { readonly type: 'delete'; readonly who: number; readonly file: number }
  | { readonly type: 'commit' | 'stage'; readonly who: number }
  /** Starts or ends a run of an agent, or applies its last end; `killedAt`: the call of git at which OpenCode is killed. */
  | { readonly type: 'open' | 'close' | 'apply'; readonly who: number; readonly killedAt: number }
  /** Removes the directory of an agent that is not at work. */
  | { readonly type: 'remove'; readonly who: number }

const NAMES = ['a.txt', 'b.txt', 'a dir/ü 文.txt', 'deep/er/c.txt']

const who = fc.nat(AGENTS - 1)
const anyone = fc.nat(AGENTS)
const file = fc.nat(NAMES.length - 1)
const killedAt = fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.nat(24))

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ type: fc.constant('write' as const), who: anyone, file, text: fc.nat(3) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('delete' as const), who: anyone, file }) },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constantFrom('commit' as const, 'stage' as const), who: anyone }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constantFrom('open' as const, 'close' as const, 'apply' as const),
        who,
        killedAt,
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('remove' as const), who }) },
  ),
  { minLength: 8, maxLength: 24 },
)

interface Agent {
  readonly run: ReturnType<typeof task>
  worktree: Worktree | undefined
  isAtWork: boolean
  changes: Changes | undefined
}

class History {
  readonly #repository: Repository = createRepository()
  readonly #agents: Agent[] = Array.from({ length: AGENTS }, (_, index) => ({
    run: task(`agent ${index}`),
    worktree: undefined,
    isAtWork: false,
    changes: undefined,
  }))
  /** The versions that must be reachable at the end, by hash, with where each stood. */
  readonly #versions = new Map<string, string>()
  #worktrees = new Worktrees(git, this.#repository.state)

  async play(step: Step): Promise<void> {
    const agent = this.#agents[step.who]
    // The one after the agents is the parent.
    const root = agent ? agent.worktree?.root : this.#repository.root
    switch (step.type) {
      case 'write':
        if (this.#isTree(root))
          this.#repository.write(NAMES[step.file] ?? '', `${step.text}\n`.repeat(9), root)
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
    this.#worktrees = new Worktrees((directory, args, options) => {
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
    this.#worktrees = new Worktrees(git, this.#repository.state)
    if (calls <= last) return
    this.#remember(`at a kill of ${type}`)
    // The next OpenCode finds the tasks.
    for (const each of this.#agents) if (each.isAtWork) await this.#close(each)
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
    this.#remember('at the end of a run')
    agent.changes = await this.#worktrees.close(agent.worktree, agent.run)
    if (agent.changes.type === 'failed') match(agent.changes.message, /killed/)
    agent.isAtWork = agent.changes.type === 'failed'
  }

  async #apply({ run, worktree, changes }: Agent): Promise<void> {
    if (!worktree || changes?.type !== 'committed') return
    this.#remember('before an apply')
    const { root } = this.#repository
    for (const [hash, path] of this.#filesOf(root)) this.#note(hash, `${path} of the parent before an apply`)
    const { index } = this.#repository.standing()
    try {
      await this.#worktrees.apply(worktree, run, changes.commit, false)
    } catch (error) {
      match(String(error), /killed|patch does not apply|already exists/)
    }
    equal(this.#repository.standing().index, index)
  }

  #commit(root: string): void {
    this.#repository.git(['add', '--all'], root)
    this.#repository.git(['commit', '--quiet', '--allow-empty', '--message', 'By hand'], root)
  }

  /** Notes the files of all trees. */
  #remember(when: string): void {
    for (const { run, worktree } of this.#agents)
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
