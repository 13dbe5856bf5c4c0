/** Tasks of a fleet: a manager at one OpenCode offers them, a worker beside another runs them. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import type { JobState, Jobs, Offer } from '../../src/fleet/launcher/jobs.ts'
import { checkpointOf, readPayload } from '../../src/fleet/payload.ts'
import type { JobRun } from '../../src/fleet/worker/job-run.ts'
import { JobRunner, NotStarted } from '../../src/fleet/worker/job-runner.ts'
import { BackgroundManager } from '../../src/manager.ts'
import { realPorts } from '../../src/ports.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import type { LoggedRequest } from '../harness/model.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'
import { directoryOf, writes } from '../harness/trees.ts'
import { heldReply, never } from '../harness/replies.ts'
import type { Script } from '../harness/script.ts'

let stage: Stage
let other: OpencodeServer
let runner: JobRunner
let state: string
let clone: string
let queue: Queue
let by: BackgroundManager
/** Answers for the agents at the worker. */
let agent: Script
const warnings: string[] = []

beforeAll(async () => {
  state = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-fleet-')))
  mkdirSync(join(state, 'trees'))
  const config = { permission: { external_directory: 'allow' } }
  stage = await startStage({ config })
  other = await startOpencode({ model: stage.model, config: { snapshot: false, ...config } })
  clone = join(other.home, 'clone')
  execFileSync('git', ['clone', '--quiet', stage.server.directory, clone])
  const usual = stage.model.script
  // No task here works at the first OpenCode.
  stage.model.script = (request) => (request.parentSessionID === undefined ? usual : agent)(request)
})
afterAll(async () => {
  await other.stop()
  await stage.close()
  rmSync(state, { recursive: true, force: true })
  if (warnings.length > 0) throw new Error(warnings.join('\n'))
})

beforeEach(async () => {
  agent = () => ({ text: 'done' })
  const settings = { url: other.url, directory: clone, name: 'one', remote: '', trees: join(state, 'trees') }
  runner = await JobRunner.connect(
    { ...settings, slots: 4, permissionTimeoutMs: 0, setup: '' },
    { debug: () => {}, warn: (message) => void warnings.push(message) },
  )
  queue = new Queue()
  by = manager()
  await by.follow()
})
afterEach(async () => {
  await by.dispose()
  await runner.detach()
})

/** A queue in memory, whose only worker takes each job at once. */
class Queue implements Jobs {
  readonly jobs = new Map<string, JobState>()
  readonly runs = new Map<string, JobRun>()
  readonly acknowledged: string[] = []
  /** The jobs that were cancelled before they were known. */
  readonly refused = new Set<string>()
  /** Whether the worker takes jobs, and whether the queue answers. */
  state: 'open' | 'held' | 'away' = 'open'
  #onChange = (): void => {}

  async offer(job: Offer): Promise<void> {
    this.#refuseAway()
    if (this.jobs.has(job.id) || this.refused.has(job.id)) return
    this.set(job.id, { type: 'waiting' })
    if (this.state === 'open') void this.#work(job)
  }

  async states(ids: readonly string[]): Promise<ReadonlyMap<string, JobState>> {
    this.#refuseAway()
    return new Map([...this.jobs].filter(([id]) => ids.includes(id)))
  }

  async cancel(id: string): Promise<boolean> {
    this.#refuseAway()
    const isWaiting = this.jobs.get(id)?.type === 'waiting'
    if (isWaiting) this.set(id, { type: 'ended', isCancelled: true, why: 'it was cancelled in the queue' })
    this.runs.get(id)?.stop()
    if (!this.jobs.has(id)) this.refused.add(id)
    return this.jobs.has(id)
  }

  async say(id: string, { text }: { readonly text: string }): Promise<boolean> {
    this.#refuseAway()
    return (await this.runs.get(id)?.say(text)) ?? false
  }

  async acknowledge(id: string): Promise<void> {
    this.acknowledged.push(id)
    this.jobs.delete(id)
  }

  watch(onChange: () => void): void {
    this.#onChange = onChange
  }

  set(id: string, next: JobState): void {
    this.jobs.set(id, next)
    this.#onChange()
  }

  #refuseAway(): void {
    if (this.state === 'away') throw new Error('the queue is away')
  }

  async #work({ id, payload }: Offer): Promise<void> {
    const claimed = { type: 'claimed', worker: 'one', silentMs: 0, report: undefined } as const
    this.set(id, { ...claimed, isPrompted: false })
    try {
      // As over a wire.
      const read = readPayload(JSON.parse(JSON.stringify(payload)))
      const run = await runner.start(id, read, async () => {
        this.set(id, { ...claimed, isPrompted: true })
      })
      this.runs.set(id, run)
      const result = JSON.parse(JSON.stringify(await run.result)) as unknown
      this.set(id, { type: 'ended', worker: 'one', result })
      await run.drop()
    } catch (error) {
      if (!(error instanceof NotStarted)) throw error
      this.set(id, { type: 'ended', why: error.message })
    }
  }
}

function manager(): BackgroundManager {
  const { url, directory } = stage.server
  const client = createOpencodeClient({ baseUrl: url, directory })
  const input = { name: 'launcher', client, directory, options: { fleet: { db: 'NONE' } } }
  const { options } = parseOptions(input.options)
  const ports = realPorts(client, directory, 'launcher', options, undefined)
  const log = { debug: () => {}, warn: (message: string) => void warnings.push(message) }
  return new BackgroundManager(input, { ...ports, log, openJobs: () => Promise.resolve(queue) })
}

/** Ends the launching process; the next one finds its tasks. */
async function restart(): Promise<void> {
  await by.dispose()
  by = manager()
  await by.follow()
}

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

async function launch(parent: Parent, prompt: string): Promise<string> {
  const request = { parentID: parent.id, agent: 'general', description: prompt, prompt, where: 'any' }
  return (await by.launch(request)).id
}

/** Resolves with the request of the agent at the worker whose prompt ends so. */
function askedAt(prompt: string): Promise<LoggedRequest> {
  return stage.model.waitForRequest(
    ({ parentSessionID, messages }) =>
      parentSessionID !== undefined && messages.some(({ content }) => content.endsWith(prompt)),
  )
}

test('a task works at a worker, its branch comes back, and its parent is told once', async () => {
  writeFileSync(join(stage.server.directory, 'draft.txt'), 'not committed\n')
  agent = writes('page.txt', 'one\ntwo\n')
  const parent = await stage.parent()
  const id = await launch(parent, 'write a page')
  const { type, task } = await by.waitForCompletion(id)
  expect({ type, status: task.status }).toEqual({ type: 'ended', status: 'completed' })
  await parent.waitForNotice('written in')
  const branch = `opencode-background/${id}-write-a-page`
  expect(parent.noticeText).toContain(
    `Branch ${branch}, 1 commit, 1 file (+2 -0): page.txt. It applies cleanly to your checkout now.`,
  )
  expect(git('show', `${branch}:page.txt`)).toBe('one\ntwo\n')
  expect(git('show', `${branch}:draft.txt`)).toBe('not committed\n')
  await parent.say('And now?')
  expect(parent.noticeTurns).toHaveLength(1)
  const { transcript } = await by.output(id)
  expect(transcript?.text).toMatch(/^written in /)
  expect(await by.apply(id)).toMatchObject({ type: 'applied', paths: ['page.txt'] })
  await expect.poll(() => queue.acknowledged).toEqual([`${id}.1`])
  const refs = ['in', 'out'].map((name) => `refs/opencode-background/${id}/${name}`)
  expect(git('for-each-ref', ...refs)).toBe('')
})

test('the next run of a task continues from its branch, at whatever worker', async () => {
  const parent = await stage.parent()
  agent = writes('page.txt', 'first\n')
  const id = await launch(parent, 'write two pages')
  await by.waitForCompletion(id)
  agent = (request) => {
    const results = request.messages.filter(({ role }) => role === 'tool')
    const command = `cat page.txt && echo second > ${join(directoryOf(request), 'second.txt')}`
    if (results.length > 0) return { text: `It had: ${results[0]?.content}` }
    return { tools: [{ name: 'bash', args: { command, description: 'Read the first page' } }] }
  }
  await by.continue(id, 'Now the second one')
  await by.waitForCompletion(id)
  expect((await by.output(id)).transcript?.text).toContain('It had: first')
  const branch = `opencode-background/${id}-write-two-pages`
  expect(git('diff', '--name-only', 'HEAD', branch).split('\n')).toEqual(
    expect.arrayContaining(['page.txt', 'second.txt']),
  )
})

test('a cancelled task ends when its worker has stopped the agent, and its work so far is on the branch', async () => {
  agent = (request) => {
    writeFileSync(join(directoryOf(request), 'half.txt'), 'half\n')
    return never()
  }
  const parent = await stage.parent()
  const id = await launch(parent, 'write half a page')
  const request = await askedAt('write half a page')
  const ended = await by.cancel(id)
  expect(ended).toMatchObject({ status: 'cancelled', by: 'parent', changes: { type: 'committed' } })
  expect(request.outcome).toBe('closed')
  expect(git('show', `opencode-background/${id}-write-half-a-page:half.txt`)).toBe('half\n')
  await expect.poll(() => queue.acknowledged).toEqual([`${id}.1`])
})

test('a task that waits for a worker shows that, and can be cancelled', async () => {
  queue.state = 'held'
  const parent = await stage.parent()
  const id = await launch(parent, 'wait for a worker')
  await expect.poll(() => queue.jobs.get(`${id}.1`)?.type).toBe('waiting')
  const { task, transcript } = await by.output(id)
  expect(task.status).toBe('starting')
  expect(transcript?.activity?.what).toBe('waits for a worker of the fleet')
  expect(await by.cancel(id)).toMatchObject({ status: 'cancelled', by: 'parent' })
})

test('a message to a task reaches the agent at the worker', async () => {
  agent = (request) =>
    request.messages.some(({ content }) => content === 'Write it in green')
      ? { text: 'in green' }
      : { tools: [{ name: 'bash', args: { command: 'sleep 1', description: 'Waits' } }] }
  const parent = await stage.parent()
  const id = await launch(parent, 'write in a colour')
  await askedAt('write in a colour')
  await expect.poll(() => by.get(id)?.status).toBe('running')
  const { activity } = (await by.output(id)).transcript ?? {}
  expect(activity?.what).toBe('at worker one, prompted')
  await by.continue(id, 'Write it in green')
  await by.waitForCompletion(id)
  expect((await by.output(id)).transcript?.text).toBe('in green')
})

test('a launcher that starts again follows the task that works on, and tells its end once', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  const parent = await stage.parent()
  const id = await launch(parent, 'outlive the launcher')
  await askedAt('outlive the launcher')
  await expect.poll(() => by.get(id)?.status).toBe('running')
  await restart()
  await by.recover(parent.id)
  await expect.poll(() => by.get(id)?.status).toBe('running')
  release({ text: 'the answer' })
  await parent.waitForNotice('the answer')
  await parent.say('And now?')
  expect(parent.noticeTurns).toHaveLength(1)
  expect(
    stage.model.requests.filter(({ messages }) =>
      messages.some(({ content }) => content.endsWith('outlive the launcher')),
    ),
  ).toHaveLength(1)
})

test('an end that came while the launcher was away is told once, when its session is used again', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  const parent = await stage.parent()
  const id = await launch(parent, 'end meanwhile')
  await askedAt('end meanwhile')
  await by.dispose()
  release({ text: 'the late answer' })
  await expect.poll(() => queue.jobs.get(`${id}.1`)?.type).toBe('ended')
  by = manager()
  await by.follow()
  await by.recover(parent.id)
  await parent.waitForNotice('the late answer')
  await parent.say('And now?')
  expect(parent.noticeTurns).toHaveLength(1)
  await expect.poll(() => queue.acknowledged).toEqual([`${id}.1`])
})

test('a task whose offer was lost with its launcher has not started, which is told', async () => {
  queue.state = 'away'
  const parent = await stage.parent()
  const id = await launch(parent, 'never offered')
  await restart()
  queue.state = 'open'
  await by.recover(parent.id)
  expect(by.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  // The offer of the old process may still come: it starts no agent.
  await queue.offer({ id: `${id}.1`, labels: [], payload: {} })
  expect(queue.jobs.size).toBe(0)
  warnings.length = 0
})

test('a queue that does not answer ends no task', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  const parent = await stage.parent()
  const id = await launch(parent, 'outlive the queue')
  await askedAt('outlive the queue')
  await expect.poll(() => by.get(id)?.status).toBe('running')
  queue.state = 'away'
  release({ text: 'the answer' })
  await expect.poll(() => warnings.some((line) => line.includes('the queue is away'))).toBe(true)
  expect(by.get(id)?.status).toBe('running')
  queue.state = 'open'
  await by.waitForCompletion(id)
  expect(by.get(id)?.status).toBe('completed')
  warnings.length = 0
})

test('a task without a result ends as interrupted, with its last checkpoint on the branch', async () => {
  queue.state = 'held'
  const parent = await stage.parent()
  const id = await launch(parent, 'lose the worker')
  await expect.poll(() => queue.jobs.has(`${id}.1`)).toBe(true)
  const commit = git('commit-tree', '-p', 'HEAD', '-m', 'Half', git('rev-parse', 'HEAD^{tree}').trim()).trim()
  git('update-ref', `refs/opencode-background/${id}/out`, commit)
  const args = ['bundle', 'create', '--quiet', '-', `refs/opencode-background/${id}/out`, '^HEAD']
  const bundle = execFileSync('git', ['-C', stage.server.directory, ...args]).toString('base64')
  const checkpoint = checkpointOf({ commit, bundle })
  queue.set(`${id}.1`, { type: 'ended', worker: 'one', why: 'worker one was lost at 12:00', checkpoint })
  const { task } = await by.waitForCompletion(id)
  expect(task).toMatchObject({
    status: 'failed',
    failure: { reason: 'interrupted', message: 'worker one was lost at 12:00' },
    changes: { type: 'committed', commit },
  })
})

test('a result that is none, or whose bundle is none, ends the task with the reason', async () => {
  queue.state = 'held'
  const parent = await stage.parent()
  const ids = [await launch(parent, 'first'), await launch(parent, 'second')]
  await expect.poll(() => queue.jobs.size).toBe(2)
  queue.set(`${ids[0]}.1`, { type: 'ended', worker: 'one', result: { version: 1, text: 'rm -rf' } })
  const usage = { toolCalls: 0, tokens: 0, cost: 0 }
  const code = { type: 'committed', commit: 'a'.repeat(40), bundle: Buffer.from('none').toString('base64') }
  const result = { version: 1, outcome: { status: 'completed' }, text: 'done', usage, code }
  queue.set(`${ids[1]}.1`, { type: 'ended', worker: 'one', result })
  const ends = await Promise.all(ids.map(async (id) => (await by.waitForCompletion(id)).task))
  expect(ends[0]).toMatchObject({
    status: 'failed',
    failure: { message: expect.stringContaining('cannot be read') },
  })
  expect(ends[1]).toMatchObject({
    status: 'completed',
    changes: { type: 'failed', message: expect.stringContaining('no bundle of git') },
  })
})

test('a place that is not offered, and a worktree that is refused, are refused at the launch', async () => {
  const parent = await stage.parent()
  const request = { parentID: parent.id, agent: 'general', description: 'x', prompt: 'x' }
  await expect(by.launch({ ...request, where: 'gpu' })).rejects.toThrow('where: must be one of any')
  await expect(by.launch({ ...request, where: 'any', worktree: false })).rejects.toThrow('Omit worktree')
})
