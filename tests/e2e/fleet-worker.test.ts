/**
 * The worker of a fleet as a process that is killed, beside a real OpenCode; the queue is in the test's process. What the agent was
 * asked is counted at the scripted model: a prompt that the queue has accepted is never sent twice.
 */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseOptions } from '../../src/config.ts'
import { MemoryFleet } from '../fleet-model/memory-fleet.ts'
import type { Beat } from '../../src/fleet/port.ts'
import { BackgroundManager } from '../../src/manager.ts'
import { realPorts } from '../../src/ports.ts'
import { serveFleet, type FleetServer } from '../harness/fleet-server.ts'
import type { LoggedRequest } from '../harness/model.ts'
import { heldReply, never } from '../harness/replies.ts'
import type { Script } from '../harness/script.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'
import { deadlyGit, directoryOf, writes, type DeadlyGit } from '../harness/trees.ts'
import { startWorker, type WorkerProcess } from '../harness/worker-process.ts'

/** A worker beats, and gives up a call, after a third of it: longer than a busy machine lets a process stand still. */
const LEASE_MS = 12_000

let stage: Stage
let other: OpencodeServer
let clone: string
let state: string
let server: FleetServer
let by: BackgroundManager
let worker: WorkerProcess
let deadly: DeadlyGit
/** Answers for the agents at the worker. */
let agent: Script

beforeAll(async () => {
  const config = { permission: { external_directory: 'allow' } }
  stage = await startStage({ config })
  other = await startOpencode({ model: stage.model, config: { snapshot: false, ...config } })
  clone = join(other.home, 'clone')
  execFileSync('git', ['clone', '--quiet', stage.server.directory, clone])
  const usual = stage.model.script
  // No task here works at the first OpenCode.
  stage.model.script = (request) => (request.parentSessionID === undefined ? usual : agent)(request)
  deadly = deadlyGit()
})
afterAll(async () => {
  await other.stop()
  await stage.close()
  deadly.close()
})

beforeEach(async () => {
  agent = () => ({ text: 'done' })
  state = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-fleet-')))
  mkdirSync(join(state, 'trees'))
  const times = { leaseMs: LEASE_MS, resumeMs: 20_000, retryMs: 500, attempts: 3 }
  const fleet = new MemoryFleet(systemClock, times, { total: 10, providers: {}, models: {} })
  server = await serveFleet(fleet.claims)
  worker = start()
  const { url, directory } = stage.server
  const client = createOpencodeClient({ baseUrl: url, directory })
  const input = { name: 'launcher', client, directory, options: { fleet: { db: 'NONE' } } }
  const ports = realPorts(client, directory, 'launcher', parseOptions(input.options).options, undefined)
  by = new BackgroundManager(input, { ...ports, openJobs: () => Promise.resolve(fleet.launcher('me')) })
  await by.follow()
})
afterEach(async () => {
  await by.dispose()
  await worker.end('SIGKILL')
  await server.close()
  rmSync(state, { recursive: true, force: true })
})

/** Starts the worker, or a later process of it. */
function start(name = 'one', ...args: readonly string[]): WorkerProcess {
  const trees = join(state, 'trees')
  return startWorker(server.url, {
    args: ['--url', other.url, '--directory', clone, '--name', name, '--trees', trees, ...args],
    env: { ...deadly.env, XDG_STATE_HOME: join(state, name) },
  })
}

async function launch(parent: Parent, prompt: string): Promise<string> {
  const request = { parentID: parent.id, agent: 'general', description: prompt, prompt, where: 'any' }
  return (await by.launch(request)).id
}

/** The requests of the agent with this prompt, without those after its first answer. */
function prompts(prompt: string): readonly LoggedRequest[] {
  return stage.model.requests.filter(({ parentSessionID, messages }) => {
    const isFirst = !messages.some(({ role }) => role === 'assistant' || role === 'tool')
    return (
      parentSessionID !== undefined && isFirst && messages.some(({ content }) => content.endsWith(prompt))
    )
  })
}

async function asked(prompt: string): Promise<void> {
  await expect.poll(() => prompts(prompt).length).toBe(1)
}

/** Kills the worker at a call of the queue, once. */
function killAt(
  isIt: (verb: string, args: readonly unknown[]) => boolean,
  at: 'before' | 'after',
): Promise<void> {
  return new Promise((resolve) => {
    server.observe = async (verb, args, when) => {
      if (when !== at || !isIt(verb, args)) return
      server.observe = () => Promise.resolve()
      await worker.end('SIGKILL')
      resolve()
      throw new Error('the worker is gone')
    }
  })
}

const isPrompted = (verb: string, [, beat]: readonly unknown[]): boolean =>
  verb === 'beat' && (beat as Beat).phase === 'prompted'
const isSettled = (verb: string): boolean => verb === 'settle'

/** Expects that the end of a task is told once. */
async function expectToldOnce(parent: Parent, text: string): Promise<void> {
  await parent.waitForNotice(text)
  await parent.say('And now?')
  expect(parent.noticeTurns).toHaveLength(1)
}

test('a worker process does a task, and is drained by SIGTERM', async () => {
  agent = writes('page.txt', 'one\n')
  const parent = await stage.parent()
  const id = await launch(parent, 'write by a process')
  await by.waitForCompletion(id)
  await expectToldOnce(parent, 'written in')
  expect(
    execFileSync('git', [
      '-C',
      stage.server.directory,
      'show',
      `opencode-background/${id}-write-by-a-process:page.txt`,
    ]).toString(),
  ).toBe('one\n')
  await worker.end('SIGTERM')
  expect(worker.output).toBe('opencode-background worker: drained\n')
})

test('a worker that is killed before the queue has accepted the prompt: another one does the task', async () => {
  const killed = killAt(isPrompted, 'before')
  const parent = await stage.parent()
  const id = await launch(parent, 'killed before the prompt')
  await killed
  expect(prompts('killed before the prompt')).toEqual([])
  worker = start('two')
  await by.waitForCompletion(id)
  expect(by.get(id)?.status).toBe('completed')
  expect(prompts('killed before the prompt')).toHaveLength(1)
})

test('a worker that is killed when the queue has accepted the prompt: nobody sends it, and the parent decides', async () => {
  const killed = killAt(isPrompted, 'after')
  const parent = await stage.parent()
  const id = await launch(parent, 'killed at the prompt')
  await killed
  worker = start()
  const { task } = await by.waitForCompletion(id)
  expect(task).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(prompts('killed at the prompt')).toEqual([])
})

test('a worker that is killed while its agent works goes on with the same session', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  const parent = await stage.parent()
  const id = await launch(parent, 'killed at work')
  await asked('killed at work')
  await worker.end('SIGKILL')
  worker = start()
  await expect.poll(() => worker.output).toBe('')
  release({ text: 'after the kill' })
  await expectToldOnce(parent, 'after the kill')
  expect(by.get(id)?.status).toBe('completed')
  expect(prompts('killed at work')).toHaveLength(1)
})

test('a worker that is killed while it commits hands back the changes after its next start', async () => {
  agent = writes('page.txt', 'one\n')
  const parent = await stage.parent()
  deadly.arm('before', 'worktree unlock')
  const id = await launch(parent, 'killed at the commit')
  await expect.poll(() => deadly.isArmed).toBe(false)
  worker = start()
  const { task } = await by.waitForCompletion(id)
  expect(task).toMatchObject({ status: 'completed', changes: { type: 'committed', paths: ['page.txt'] } })
  expect(prompts('killed at the commit')).toHaveLength(1)
})

test.each(['before', 'after'] as const)(
  'a worker that is killed %s its result has arrived: told once, with the result',
  async (when) => {
    agent = writes('page.txt', 'one\n')
    const killed = killAt(isSettled, when)
    const parent = await stage.parent()
    const id = await launch(parent, `killed ${when} the settling`)
    await killed
    worker = start()
    await expectToldOnce(parent, 'written in')
    expect(by.get(id)).toMatchObject({ status: 'completed', changes: { type: 'committed' } })
    expect(prompts(`killed ${when} the settling`)).toHaveLength(1)
  },
)

test('a worker that loses its lease stops its agent, writes nothing, and keeps the tree', async () => {
  agent = (request) => {
    writeFileSync(join(directoryOf(request), 'half.txt'), 'half\n')
    return never()
  }
  const parent = await stage.parent()
  const id = await launch(parent, 'cut off from the queue')
  await asked('cut off from the queue')
  const settled: string[] = []
  server.observe = (verb) => {
    if (verb === 'settle') settled.push(verb)
    return Promise.reject(new Error('the queue is away'))
  }
  await expect.poll(() => prompts('cut off from the queue')[0]?.outcome).toBe('closed')
  expect(worker.output).toContain('the claim is lost')
  server.observe = () => Promise.resolve()
  const { task } = await by.waitForCompletion(id)
  expect(task).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(settled).toEqual([])
  const trees = execFileSync('git', ['-C', clone, 'worktree', 'list']).toString()
  expect(trees).toContain(join(state, 'trees'))
})

test('a drained worker leaves an agent at work to its next process', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  await worker.end('SIGKILL')
  worker = start('one', '--drain-timeout', '1')
  const parent = await stage.parent()
  const id = await launch(parent, 'drained at work')
  await asked('drained at work')
  await worker.end('SIGTERM')
  expect(worker.output).toContain('detached')
  expect(prompts('drained at work')[0]?.outcome).toBe('open')
  worker = start()
  release({ text: 'after the drain' })
  await by.waitForCompletion(id)
  expect((await by.output(id)).transcript?.text).toBe('after the drain')
  expect(prompts('drained at work')).toHaveLength(1)
})

test('a second worker of a name on a machine is refused while the first runs, and ends none of its jobs', async () => {
  const { reply, release } = heldReply()
  agent = () => reply
  const id = await launch(await stage.parent(), 'beside a second')
  await asked('beside a second')
  const second = start('one', '--directory', stage.server.directory)
  await second.end('SIGCONT')
  expect(second.output).toContain(
    `worker one runs already, as process ${worker.pid}, in ${clone} beside ${other.url}: start this one with another --name`,
  )
  release({ text: 'not disturbed' })
  await by.waitForCompletion(id)
  expect((await by.output(id)).transcript?.text).toBe('not disturbed')
})

test('a second process of a worker that cannot see the first one replaces it', async () => {
  const id = await launch(await stage.parent(), 'before the second')
  await by.waitForCompletion(id)
  const first = worker
  // As in a container of its own.
  rmSync(join(state, 'one', 'opencode-background', 'worker-processes', 'one'))
  worker = start()
  await first.end('SIGCONT')
  expect(first.output).toContain('replaced')
})

test('a worker says what is wrong with its OpenCode, its clone or its command line', async () => {
  const say = async (...args: readonly string[]): Promise<string> => {
    const refused = start('refused', ...args)
    await refused.end('SIGCONT')
    return refused.output
  }
  expect(await say('--url', 'http://127.0.0.1:9')).toContain('there is no OpenCode at http://127.0.0.1:9')
  expect(await say('--directory', tmpdir())).toContain('is not in a git repository')
  expect(await say('--remote', 'nowhere')).toContain('has no remote nowhere')
  expect(await say('--slots', 'many')).toContain('--slots must be a whole number of at least 1')
})

test('a task that is cancelled before its prompt was accepted is never prompted', async () => {
  const parent = await stage.parent()
  const isReached = new Promise<void>((resolve) => {
    server.observe = (verb, args) => {
      if (!isPrompted(verb, args)) return Promise.resolve()
      resolve()
      return Promise.reject(new Error('the queue is away'))
    }
  })
  const id = await launch(parent, 'cancelled before the prompt')
  await isReached
  const cancelled = by.cancel(id)
  server.observe = () => Promise.resolve()
  expect(await cancelled).toMatchObject({ status: 'cancelled', by: 'parent' })
  expect(prompts('cancelled before the prompt')).toEqual([])
})
