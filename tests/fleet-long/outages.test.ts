/**
 * What is lost at a host or at the launch, and what is cancelled at each point of a job: with a real PostgreSQL, an OpenCode that
 * launches, and a host of its own for the worker. docs/fleet.md has the rows.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { takeConnections } from '../harness/deaf-server.ts'
import { startFleet, tellings, type FleetStage, type Host } from '../harness/fleet-hosts.ts'
import type { LoggedRequest } from '../harness/model.ts'
import { isAlive } from '../harness/processes.ts'
import { heldReply, never } from '../harness/replies.ts'
import type { ModelRequest, Reply } from '../harness/script.ts'
import { backgroundTask, type Parent } from '../harness/stage.ts'
import { heldGit, idOf, type HeldGit } from '../harness/trees.ts'

let fleet: FleetStage
let host: Host
let git: HeldGit

beforeAll(async () => {
  git = heldGit()
  fleet = await startFleet(['one'], { times: { leaseMs: 6000, retryMs: 500 } })
  const [only] = fleet.hosts
  if (!only) throw new Error('there is no host')
  host = only
})
afterAll(async () => {
  await fleet.close()
  git.close()
})
beforeEach(() => {
  fleet.agents.script = writesHalf
})
afterEach(() => git.release())

/** Answers as an agent that writes a file, and is still at work then. */
function writesHalf(request: ModelRequest): Reply | Promise<Reply> {
  return hasWritten(request) ? never() : HALF
}

const HALF: Reply = {
  tools: [{ name: 'bash', args: { command: 'echo half > half.txt', description: 'Write' } }],
}

const hasWritten = ({ messages }: ModelRequest): boolean => messages.some(({ role }) => role === 'tool')
const isOf =
  (prompt: string) =>
  ({ messages }: ModelRequest): boolean =>
    messages.some(({ role, content }) => role === 'user' && content.endsWith(prompt))

async function launch(parent: Parent, prompt: string): Promise<string> {
  const answers = await parent.call([backgroundTask(prompt, { where: 'any' })])
  return idOf(answers.join(''))
}

const cancel = (parent: Parent, id: string): Promise<readonly string[]> =>
  parent.call([{ name: 'background_cancel', args: { task_id: id } }])

/** Resolves when the agent with this prompt has written its file, and asks its model again. */
function halfDone(prompt: string): Promise<LoggedRequest> {
  return fleet.agents.waitForRequest((request) => isOf(prompt)(request) && hasWritten(request))
}

/** Returns how often the agent with this prompt was prompted. */
function prompts(prompt: string): number {
  return fleet.agents.requests.filter((request) => isOf(prompt)(request) && !hasWritten(request)).length
}

/** Returns what a file has on the branch of a task; `undefined` without a branch that has it. */
function onBranch(id: string, file: string): string | undefined {
  const ask = (...args: readonly string[]): string =>
    execFileSync('git', ['-C', fleet.stage.server.directory, ...args]).toString()
  const [branch = ''] = ask('for-each-ref', '--format=%(refname)', `refs/heads/opencode-background/${id}-*`)
    .trim()
    .split('\n')
  if (branch === '' || ask('ls-tree', '--name-only', branch, file) === '') return undefined
  return ask('show', `${branch}:${file}`)
}

/** Resolves with how often a parent was told of the end of a task, once it has had another turn. */
async function told(parent: Parent, id: string): Promise<number> {
  await parent.say('And now?')
  return (await tellings(fleet.stage.server, parent.id)).get(id) ?? 0
}

async function phaseOf(id: string): Promise<string | undefined> {
  const [job] = await fleet.database.ask<{ phase: string }>(
    `select phase from fleet.job where id = '${id}.1'`,
  )
  return job?.phase
}

/** Resolves when the queue knows that a task is to be cancelled. */
async function cancelAsked(id: string): Promise<void> {
  const query = `select from fleet.job where id = '${id}.1' and cancel_asked_at is not null`
  await expect.poll(() => fleet.database.ask(query)).toHaveLength(1)
}

test('kill -9 of the OpenCode of a worker: interrupted, told once, and what was written comes back', async () => {
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'lose OpenCode')
  await halfDone('lose OpenCode')
  const restart = await host.killServer()
  await restart()
  await parent.waitForNotice(id)
  expect(parent.noticeText).toContain('status="failed"')
  expect(await told(parent, id)).toBe(1)
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  expect(prompts('lose OpenCode')).toBe(1)
  fleet.agents.script = () => ({ text: 'as before' })
  await launch(parent, 'after the restart')
  await parent.waitForNotice('as before')
})

test('kill -9 of the OpenCode of a worker, whose next process never answers the first requests: told soon, and once', async () => {
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'lose OpenCode again')
  await halfDone('lose OpenCode again')
  const restart = await host.killServer()
  // The worker follows the events of its clone, and those of the worktree.
  const end = await takeConnections(host.network, host.server.url, 2)
  try {
    await restart()
    // Without a time limit for the answer, or its abort, the end follows after a minute without events.
    await parent.waitForNotice(id, { timeoutMs: 30_000 })
    expect(parent.noticeText).toContain('status="failed"')
    expect(await told(parent, id)).toBe(1)
    expect(onBranch(id, 'half.txt')).toBe('half\n')
    expect(prompts('lose OpenCode again')).toBe(1)
  } finally {
    end()
  }
})

test('kill -9 of a worker at work: its next process goes on, told once with the result', async () => {
  const { reply, release } = heldReply()
  fleet.agents.script = (request) => (hasWritten(request) ? reply : HALF)
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'lose the worker')
  await halfDone('lose the worker')
  await host.worker.end('SIGKILL')
  host.startWorker()
  release({ text: 'after the kill' })
  await parent.waitForNotice('after the kill')
  expect(await told(parent, id)).toBe(1)
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  expect(prompts('lose the worker')).toBe(1)
})

test('kill -9 of the launching OpenCode: what ends meanwhile, and what works on, are told once', async () => {
  const [early, late] = [heldReply(), heldReply()]
  fleet.agents.script = (request) => {
    if (!hasWritten(request)) return HALF
    return isOf('end meanwhile')(request) ? early.reply : late.reply
  }
  const parent = await fleet.stage.parent()
  const [ended, working] = [await launch(parent, 'end meanwhile'), await launch(parent, 'work on')]
  await halfDone('end meanwhile')
  await halfDone('work on')
  const { pid } = fleet.stage.server
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isAlive(pid)).toBe(false)
  early.release({ text: 'the early result' })
  await expect.poll(() => phaseOf(ended)).toBe('ended')
  await fleet.stage.restart('SIGKILL')
  const again = fleet.stage.parentAt(parent.id)
  await again.say('What has happened?')
  await again.waitForNotice('the early result')
  late.release({ text: 'the late result' })
  await again.waitForNotice('the late result')
  for (const [id, prompt] of [
    [ended, 'end meanwhile'],
    [working, 'work on'],
  ] as const) {
    expect(await told(again, id)).toBe(1)
    expect(onBranch(id, 'half.txt')).toBe('half\n')
    expect(prompts(prompt)).toBe(1)
  }
})

test('a task that is cancelled while it waits for a worker is never prompted', async () => {
  await host.worker.end('SIGTERM')
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'cancelled in the queue')
  await expect.poll(() => phaseOf(id)).toBe('waiting')
  expect((await cancel(parent, id)).join('')).toContain('cancelled')
  expect(await phaseOf(id)).not.toBe('waiting')
  host.startWorker()
  fleet.agents.script = () => ({ text: 'the next' })
  await launch(parent, 'after a cancelled one')
  await parent.waitForNotice('the next')
  expect(await told(parent, id)).toBe(0)
  expect(prompts('cancelled in the queue')).toBe(0)
})

test('a task that is cancelled while its worktree is made is never prompted', async () => {
  const go = join(host.server.home, 'go')
  await host.worker.end('SIGTERM')
  host.startWorker(['--setup', `while [ ! -e ${go} ]; do sleep 0.1; done`])
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'cancelled before the prompt')
  await expect.poll(() => phaseOf(id)).toBe('starting')
  const answer = cancel(parent, id)
  await cancelAsked(id)
  writeFileSync(go, '')
  expect((await answer).join('')).toContain('cancelled')
  expect(await told(parent, id)).toBe(0)
  expect(prompts('cancelled before the prompt')).toBe(0)
  await host.worker.end('SIGTERM')
  host.startWorker()
})

test('a task that is cancelled at work: its agent is stopped, and its work so far is on the branch', async () => {
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'cancelled at work')
  const { sessionID } = await halfDone('cancelled at work')
  expect((await cancel(parent, id)).join('')).toContain('cancelled')
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  expect(fleet.agents.requestsOf(sessionID).at(-1)?.outcome).toBe('closed')
  expect(await told(parent, id)).toBe(0)
  expect(prompts('cancelled at work')).toBe(1)
})

test('a task whose agent has ended, and that is cancelled while its files are committed, has ended: told once', async () => {
  await host.worker.end('SIGTERM')
  host.startWorker([], git.env)
  fleet.agents.script = (request) => (hasWritten(request) ? { text: 'it was done' } : HALF)
  git.hold('worktree unlock')
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'cancelled at the commit')
  await expect.poll(() => git.isReached).toBe(true)
  const answer = cancel(parent, id)
  await cancelAsked(id)
  git.release()
  await answer
  await parent.waitForNotice('it was done')
  expect(parent.noticeText).toContain('status="completed"')
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  expect(await told(parent, id)).toBe(1)
  expect(prompts('cancelled at the commit')).toBe(1)
  await host.worker.end('SIGTERM')
  host.startWorker()
})

test('a message that did not reach the worker before the agent ended is named in the notice', async () => {
  const { reply, release } = heldReply()
  fleet.agents.script = (request) => (hasWritten(request) ? reply : HALF)
  const parent = await fleet.stage.parent()
  const id = await launch(parent, 'told too late')
  await halfDone('told too late')
  host.network.drop('both', fleet.postgres.port)
  await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'Also in green' } }])
  release({ text: 'it was done' })
  await expect.poll(() => fleet.agents.requests.findLast(isOf('told too late'))?.outcome).toBe('answered')
  await expect.poll(() => host.worker.output).toContain(`${id}.1: its end could not be told`)
  host.network.heal()
  await parent.waitForNotice('it was done')
  expect(parent.noticeText).toContain('It ended before it had read this')
  expect(parent.noticeText).toContain('Also in green')
  expect(await told(parent, id)).toBe(1)
  expect(fleet.agents.requests.filter(isOf('Also in green'))).toEqual([])
})
