/** A worker's jobs on a real OpenCode, in a clone of the project. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { JobRunner, NotStarted } from '../../src/fleet/worker/job-runner.ts'
import { payloadOf, type Payload } from '../../src/fleet/payload.ts'
import { git } from '../../src/worktree/git.ts'
import { receive, send } from '../../src/worktree/transport.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import { heldReply } from '../harness/replies.ts'
import { directoryOf, writes } from '../harness/trees.ts'

let model: ScriptedModel
let server: OpencodeServer
let runner: JobRunner
let launch: string
const warnings: string[] = []
const log = { debug: () => {}, warn: (message: string) => void warnings.push(message) }
const accepted = (): Promise<void> => Promise.resolve()

beforeAll(async () => {
  model = await startModel()
  server = await startOpencode({
    model,
    config: {
      snapshot: false,
      permission: { external_directory: 'allow', bash: { '*': 'allow', 'curl *': 'ask' } },
    },
  })
  launch = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-launch-')))
  execFileSync('git', ['clone', '--quiet', server.directory, join(launch, 'project')])
  mkdirSync(join(launch, 'trees'))
})
afterAll(async () => {
  await server.stop()
  await model.close()
  rmSync(launch, { recursive: true, force: true })
})
beforeEach(async () => {
  runner = await connect()
})
afterEach(async () => {
  await runner.detach()
  if (warnings.length > 0) throw new Error(warnings.splice(0).join('\n'))
})

/** Connects the worker; again: as a later process of the same worker. */
function connect(): Promise<JobRunner> {
  const settings = { url: server.url, directory: server.directory, name: 'one', remote: '' }
  const trees = join(launch, 'trees')
  return JobRunner.connect({ ...settings, slots: 4, permissionTimeoutMs: 0, setup: '', trees }, log)
}

function inLaunch(...args: readonly string[]): string {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost']
  return execFileSync('git', ['-C', join(launch, 'project'), ...identity, ...args])
    .toString()
    .trim()
}

let jobs = 0

/** Returns a payload with the present commit of the launch's clone. */
async function payload(): Promise<Payload> {
  jobs += 1
  const taskID = `bg_${jobs.toString(16).padStart(8, '0')}`
  const commit = inLaunch('rev-parse', 'HEAD')
  const sent = await send(git, join(launch, 'project'), { id: taskID, name: 'in', commit }, [])
  const bundle = sent.bundle && Buffer.from(sent.bundle).toString('base64')
  return payloadOf({
    taskID,
    run: 1,
    agent: 'general',
    description: 'write a page',
    prompt: 'Write it',
    denials: [],
    code: { commit, ...(bundle !== undefined && { bundle }), prefix: '' },
  })
}

test('a job works on the commit of its launch, and its changes come back as commits', async () => {
  writeFileSync(join(launch, 'project', 'later.txt'), 'later\n')
  inLaunch('add', '.')
  inLaunch('commit', '--quiet', '-m', 'Later')
  model.script = writes('page.txt', 'one\n')
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, accepted)
  const result = await run.result
  expect(result).toMatchObject({ outcome: { status: 'completed' }, code: { type: 'committed' } })
  expect(result.text).toMatch(/^written in /)
  const tree = result.text.replace('written in ', '')
  expect(existsSync(join(tree, 'later.txt'))).toBe(true)
  const { code } = result
  if (code.type !== 'committed') throw new Error('it has no commit')
  const bundle = Buffer.from(code.bundle ?? '', 'base64')
  await receive(git, join(launch, 'project'), { id: job.taskID, name: 'out', commit: code.commit, bundle })
  expect(inLaunch('show', `${code.commit}:page.txt`)).toBe('one')
  await run.drop()
  expect(
    readdirSync(join(launch, 'trees'), { recursive: true }).filter((name) => String(name).includes('bg_')),
  ).toEqual([])
  expect(
    execFileSync('git', [
      '-C',
      server.directory,
      'for-each-ref',
      'refs/opencode-background',
      'refs/heads/opencode-background',
    ]).toString(),
  ).toBe('')
})

test('the prompt is sent once the queue has accepted that it is', async () => {
  let accept = (): void => {}
  let ask = (): void => {}
  const isAccepted = new Promise<void>((resolve) => (accept = resolve))
  const isAsked = new Promise<void>((resolve) => (ask = resolve))
  model.script = () => ({ text: 'done' })
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, () => {
    ask()
    return isAccepted
  })
  await isAsked
  const { sessionID, status } = run.task()
  expect(status).toBe('starting')
  expect(model.requestsOf(sessionID)).toEqual([])
  accept()
  expect(await run.result).toMatchObject({
    outcome: { status: 'completed' },
    text: 'done',
    code: { type: 'none' },
  })
  await run.drop()
})

test('a job whose agent, model, payload directory or code is not here is not started, and leaves nothing', async () => {
  const bad: readonly [(job: Payload) => Partial<Payload>, string][] = [
    [() => ({ agent: 'nobody' }), 'There is no agent "nobody"'],
    [() => ({ model: { providerID: 'mock', modelID: 'm9' } }), 'm9'],
    [({ code }) => ({ code: { ...code, prefix: '../' } }), 'is no directory of'],
    [() => ({ code: { commit: 'd'.repeat(40), prefix: '' } }), 'this repository lacks dddddddddddd'],
  ]
  const refs = (): string => execFileSync('git', ['-C', server.directory, 'for-each-ref']).toString()
  const before = refs()
  for (const [changes, why] of bad) {
    const usual = await payload()
    const job = { ...usual, ...changes(usual) }
    const start = runner.start(`${job.taskID}.1`, job, accepted)
    await expect(start).rejects.toBeInstanceOf(NotStarted)
    await expect(start).rejects.toThrow(why)
  }
  expect(refs()).toBe(before)
})

test('a message reaches the agent at its next step, and a stop ends it with what it has done', async () => {
  model.script = () => ({ tools: [{ name: 'bash', args: { command: 'sleep 1', description: 'Waits' } }] })
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, accepted)
  await model.waitForRequest(({ sessionID }) => sessionID === run.task().sessionID)
  expect(await run.say('Also a second page')).toBe(true)
  const [request] = model.requestsOf(run.task().sessionID)
  if (!request) throw new Error('it was not asked')
  writeFileSync(join(directoryOf(request), 'half.txt'), 'half\n')
  await model.waitForRequest(
    ({ sessionID, messages }) =>
      sessionID === run.task().sessionID && messages.some(({ content }) => content === 'Also a second page'),
  )
  expect((await run.report()).usage.toolCalls).toBeGreaterThan(0)
  run.stop()
  const result = await run.result
  expect(result).toMatchObject({ outcome: { status: 'cancelled' }, code: { type: 'committed' } })
  expect(await run.say('Too late')).toBe(false)
  await run.drop()
})

/** Has a worker leave its agent at work, as its process does at its end; `release` lets the agent answer. */
async function leftAtWork() {
  const { reply, release } = heldReply()
  model.script = () => reply
  const job = await payload()
  const jobID = `${job.taskID}.1`
  const run = await runner.start(jobID, job, accepted)
  const { sessionID } = run.task()
  await model.waitForRequest((request) => request.sessionID === sessionID)
  await runner.detach()
  return { jobID, sessionID, release }
}

test('a worker that starts again finds its job at work, and hands back the end of the same session', async () => {
  const { jobID, sessionID, release } = await leftAtWork()
  runner = await connect()
  const resumed = await runner.resume(jobID)
  if (!resumed) throw new Error('the job was not found')
  expect(resumed.task()).toMatchObject({ sessionID, status: 'running' })
  await runner.stopStrays([resumed])
  release({ text: 'after the restart' })
  expect(await resumed.result).toMatchObject({ outcome: { status: 'completed' }, text: 'after the restart' })
  expect(model.requestsOf(sessionID)).toHaveLength(1)
  await resumed.drop()
})

test('a session that cannot be read for a moment is not called gone', async () => {
  const { jobID, sessionID, release } = await leftAtWork()
  const failures = ['the answer was lost']
  const real = globalThis.fetch
  vi.stubGlobal('fetch', (request: Request) => {
    const failure = request.url.includes('/children') ? failures.pop() : undefined
    return failure === undefined ? real(request) : Promise.reject(new Error(failure))
  })
  runner = await connect()
  await expect(runner.resume(jobID)).rejects.toThrow(`session ${sessionID} could not be recovered`)
  expect(warnings.splice(0)).toEqual([expect.stringContaining('could not be recovered')])
  const resumed = await runner.resume(jobID)
  vi.unstubAllGlobals()
  release({ text: 'after the failure' })
  expect(await resumed?.result).toMatchObject({ text: 'after the failure' })
  await resumed?.drop()
})

test('a job that ended while its worker was away is handed back with its text and its changes', async () => {
  const { reply, release } = heldReply()
  const write = writes('away.txt', 'away\n')
  model.script = async (request) => {
    await reply
    return write(request)
  }
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, accepted)
  const { sessionID } = run.task()
  await model.waitForRequest((request) => request.sessionID === sessionID)
  await runner.detach()
  release({ text: '' })
  await expect.poll(() => model.requestsOf(sessionID).length).toBe(2)
  await expect.poll(() => model.requestsOf(sessionID).at(-1)?.outcome).toBe('answered')
  runner = await connect()
  const resumed = await runner.resume(`${job.taskID}.1`)
  const result = await resumed?.result
  expect(result).toMatchObject({ outcome: { status: 'completed' }, code: { type: 'committed' } })
  expect(result?.text).toMatch(/^written in /)
  await resumed?.drop()
})

test('an agent whose job was given to another worker is stopped, and its tree is kept', async () => {
  model.script = () => ({ tools: [{ name: 'bash', args: { command: 'sleep 1', description: 'Waits' } }] })
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, accepted)
  const { sessionID, worktree } = run.task()
  await model.waitForRequest((request) => request.sessionID === sessionID)
  writeFileSync(join(worktree?.root ?? '', 'half.txt'), 'half\n')
  await runner.detach()
  runner = await connect()
  const resumed = await runner.resume(`${job.taskID}.1`)
  await runner.stopStrays([])
  expect(resumed?.task().status).toBe('cancelled')
  expect(existsSync(join(worktree?.root ?? '', 'half.txt'))).toBe(true)
  const before = model.requestsOf(sessionID).length
  expect(await runner.resume('bg_ffffffff.1')).toBe(undefined)
  expect(model.requestsOf(sessionID)).toHaveLength(before)
  await resumed?.drop()
})

test('a prompt that the queue does not accept is never sent', async () => {
  model.script = () => ({ text: 'done' })
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, () => Promise.reject(new Error('the lease is lost')))
  expect(await run.result).toMatchObject({ outcome: { status: 'failed' } })
  expect(model.requestsOf(run.task().sessionID)).toEqual([])
  await run.drop()
})

test('a question for a permission is in the report, and its rejection lets the agent go on', async () => {
  model.script = (request) => {
    const isAnswered = request.messages.some(({ role }) => role === 'tool')
    return isAnswered
      ? { text: 'without it' }
      : { tools: [{ name: 'bash', args: { command: 'curl example.org', description: 'Asks' } }] }
  }
  const job = await payload()
  const run = await runner.start(`${job.taskID}.1`, job, accepted)
  await expect
    .poll(async () => (await run.report()).questions)
    .toMatchObject([{ permission: 'bash', patterns: ['curl example.org'] }])
  const [question] = (await run.report()).questions
  const query = `directory=${encodeURIComponent(run.task().worktree?.directory ?? '')}`
  await fetch(`${server.url}/permission/${question?.id}/reply?${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ reply: 'reject', message: 'no' }),
  })
  expect(await run.result).toMatchObject({ text: 'without it' })
  expect((await run.report()).questions).toEqual([])
  await run.drop()
})
