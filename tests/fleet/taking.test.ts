/** A launcher takes the commits of an end from the queue in memory into a real repository, which is locked for a while. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FleetRuns } from '../../src/fleet/launcher/fleet-runs.ts'
import { MemoryFleet } from '../fleet-model/memory-fleet.ts'
import { resultOf } from '../../src/fleet/payload.ts'
import { DEFAULT_TIMES } from '../../src/fleet/port.ts'
import type { Outcome } from '../../src/task/state.ts'
import type { AgentTask, Task } from '../../src/task/task.ts'
import { TaskStore } from '../../src/task/store.ts'
import { HandWorker, stateOf, UNLIMITED, workerOf } from '../fleet-contract/fleet-under-test.ts'
import { pendingTask } from '../harness/tasks.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { heldGit } from '../harness/trees.ts'

const ID = 'bg_00000001'
const JOB = `${ID}.1`

let place: string
let commit: string
let clock: ManualClock
let fleet: MemoryFleet
let store: TaskStore
let runs: FleetRuns
let task: AgentTask
let stop: AbortController
let warnings: string[]
let outcome: Outcome | undefined

function git(directory: string, ...args: readonly string[]): Buffer {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost']
  return execFileSync('git', ['-C', join(place, directory), ...identity, ...args])
}

const hashOf = (directory: string): string => git(directory, 'rev-parse', 'HEAD').toString().trim()

function commitFile(directory: string, name: string): string {
  writeFileSync(join(place, directory, name), `${name}\n`)
  git(directory, 'add', '.')
  git(directory, 'commit', '--quiet', '-m', name)
  return hashOf(directory)
}

/** What git finds while another one writes the ref of the transfer. */
const lock = (): string => join(place, 'launch', '.git', 'refs', 'opencode-background', ID, 'out.lock')

beforeEach(async () => {
  place = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-taking-')))
  mkdirSync(join(place, 'launch'))
  git('launch', 'init', '--quiet')
  const base = commitFile('launch', 'base')
  execFileSync('git', ['clone', '--quiet', join(place, 'launch'), join(place, 'worker')])
  commit = commitFile('worker', 'work')
  const ref = `refs/opencode-background/${ID}/out`
  git('worker', 'update-ref', ref, commit)
  const bundle = git('worker', 'bundle', 'create', '--quiet', '-', ref, `^${base}`).toString('base64')
  clock = new ManualClock()
  fleet = new MemoryFleet(clock, DEFAULT_TIMES, UNLIMITED)
  warnings = []
  store = new TaskStore()
  runs = runsOf()
  const root = join(place, 'tree')
  const checkout = join(place, 'launch')
  const start = { commit: base, head: base, changed: 0, created: 0 }
  const worktree = { root, directory: root, branch: `b/${ID}`, checkout, base: start }
  const waiting = pendingTask({ id: ID, place: { type: 'fleet', labels: [] }, worktree })
  task = { ...waiting, status: 'starting' } as AgentTask
  store.add(task)
  stop = new AbortController()
  outcome = undefined
  await begin(base, bundle)
})
afterEach(() => {
  fleet.close()
  rmSync(place, { recursive: true })
})

/** Begins the run, whose worker hands back a commit that the locked repository cannot take. */
async function begin(base: string, bundle: string): Promise<void> {
  void runs.run(task, () => {}, stop.signal).then((end) => (outcome = end))
  await expect.poll(() => stateOf(fleet.launcher('me'), JOB)).toEqual({ type: 'waiting' })
  mkdirSync(dirname(lock()), { recursive: true })
  writeFileSync(lock(), '')
  const worker = new HandWorker(fleet.claims, workerOf('one', { labels: [`project:${base}`] }))
  const claim = await worker.claim()
  await worker.beat(claim)
  await fleet.launcher('me').say(JOB, { id: 'm', text: 'Also in green' })
  const usage = { toolCalls: 0, tokens: 0, cost: 0 }
  const code = { type: 'committed', commit, bundle } as const
  const result = resultOf({ outcome: { status: 'completed' }, text: 'done', usage, code })
  await fleet.claims.settle(claim, { type: 'result', result })
  await expect.poll(() => warnings).toHaveLength(1)
}

function runsOf(): FleetRuns {
  const opencode = { session: async () => ({}), leaveMessage: async () => {}, newestMessages: async () => [] }
  const adopt = async (_: Task, __: object, end: string) => {
    git('launch', 'branch', '--force', `b/${ID}`, end)
    return { type: 'committed', commit: end }
  }
  return new FleetRuns(
    {
      opencode: opencode as never,
      clock,
      log: { warn: (message) => void warnings.push(message), debug: () => {} },
      store,
      worktrees: async () => ({ adopt }) as never,
      openJobs: async () => fleet.launcher('me'),
      disposal: new AbortController().signal,
    },
    { fleet: { db: 'x', labels: [], remote: '' }, timeoutMs: 0 },
  )
}

const isKept = async (): Promise<boolean> => (await stateOf(fleet.launcher('me'), JOB))?.type === 'ended'

/** Has attempts to take the commits follow each other, until `isDone`. */
async function retry(isDone: () => boolean | Promise<boolean>): Promise<void> {
  await expect
    .poll(async () => {
      await clock.advance(60_000)
      return isDone()
    })
    .toBe(true)
}

test('commits that cannot be taken for a moment are taken later, before the task ends with what its agent has not read', async () => {
  const { transcript } = await runs.report(task, {})
  expect(transcript?.activity?.what).toContain('its commits wait in the fleet')
  await retry(() => warnings.length > 2)
  expect(outcome).toBeUndefined()
  expect(await isKept()).toBe(true)
  rmSync(lock())
  await retry(() => outcome !== undefined)
  expect(outcome).toMatchObject({ status: 'completed', changes: { type: 'committed', commit } })
  // The agent has not read what was said to it.
  expect(outcome?.text).toMatch(/^done\n\nIt ended before it had read this\. .*\nAlso in green$/)
  expect(git('launch', 'show', `b/${ID}:work`).toString()).toBe('work\n')
})

test('a message to a task whose commits are not here yet is refused within a minute, with the reason', async () => {
  let refusal = ''
  runs.steer(task, { promptID: 'msg_2', text: 'more' }).catch((error: Error) => (refusal = error.message))
  await retry(() => refusal !== '')
  expect(refusal).toContain("it has ended, and its commits wait in the fleet's queue: ")
})

test.each(['the same process', 'the next one'])(
  'a task that is stopped meanwhile ends, and its commits stay in the queue until %s has taken them',
  async (which) => {
    stop.abort({ type: 'cancelled', by: 'parent' })
    await retry(() => outcome !== undefined)
    expect(outcome).toMatchObject({
      text: expect.stringContaining('done'),
      changes: { type: 'failed', message: expect.stringContaining("the fleet's queue keeps them") },
    })
    const before = warnings.length
    const later = which === 'the next one' ? runsOf() : runs
    later.endWasTold({ ...task, ...outcome, endedAt: 0 } as Task)
    await retry(() => warnings.length > before + 2)
    expect(await isKept()).toBe(true)
    rmSync(lock())
    await retry(async () => !(await isKept()))
    expect(git('launch', 'show', `b/${ID}:work`).toString()).toBe('work\n')
    expect(warnings.at(-1)).toContain('were taken late')
  },
)

test('the next run is offered, although the commits of the run before are taken while its code is packed', async () => {
  stop.abort({ type: 'cancelled', by: 'parent' })
  await retry(() => outcome !== undefined)
  runs.endWasTold({ ...task, ...outcome, endedAt: 0 } as Task)
  const held = heldGit()
  const { PATH } = process.env
  Object.assign(process.env, held.env)
  try {
    held.hold('bundle create')
    void runs.run({ ...task, run: 2 }, () => {}, new AbortController().signal)
    await expect.poll(() => held.isReached).toBe(true)
    rmSync(lock())
    await retry(async () => !(await isKept()))
    held.release()
    await expect.poll(() => stateOf(fleet.launcher('me'), `${ID}.2`)).toEqual({ type: 'waiting' })
  } finally {
    held.release()
    Object.assign(process.env, { PATH })
    held.close()
  }
})
