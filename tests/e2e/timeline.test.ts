/** The timeline of a session on the real OpenCode: as data, and as the page that `opencode-background timeline` writes. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { HostError } from '../../src/host/opencode.ts'
import { timelineOf } from '../../src/session-timeline/read.ts'
import type { SessionTimeline } from '../../src/session-timeline/session-timeline.ts'
import { processKey } from '../../src/task/owner.ts'
import { RECORD_KEY, recordOf } from '../../src/task/record.ts'
import { environment, homeAt } from '../harness/home.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { opencodeBinary } from '../harness/process.ts'
import { heldReply } from '../harness/replies.ts'
import { WAIT_LIMIT_MS } from '../harness/spy.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import { pendingTask } from '../harness/tasks.ts'

const run = promisify(execFile)

/** Of each run but the first. */
const READS = 2

let stage: Stage
let parent: Parent
let taskID: string
let timeline: SessionTimeline

/** Returns the command, and how it runs in the project of the stage. */
async function commandOf(env: Record<string, string> = {}) {
  const file = join(dirname(await buildPlugin()), 'command.js')
  const home = homeAt(stage.server.home)
  const path = `${dirname(opencodeBinary())}:${process.env['PATH']}`
  return { file, options: { cwd: home.directory, env: { ...environment(home), PATH: path, ...env } } }
}

/** Runs the command as a user does. */
async function command(args: readonly string[], env: Record<string, string> = {}) {
  const { file, options } = await commandOf(env)
  return run(process.execPath, [file, 'timeline', ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

beforeAll(async () => {
  const options = { concurrency: { total: 1 } }
  // Stands in the configuration as an installed package does; the driven plugin has another name.
  const named = join(mkdtempSync(join(tmpdir(), 'named-')), 'opencode-background.js')
  writeFileSync(named, "export default { id: 'named', server: async () => ({}) }\n")
  stage = await startStage({ options, before: [[named, options]] })
  const { reply, release } = heldReply()
  parent = await stage.parent(({ messages }) => {
    const reads = messages.length - 1 - messages.findLastIndex(({ role }) => role === 'user')
    if (reads >= 2 * READS) return { text: 'the answer, with <b>markup</b>' }
    // Equal calls in a row would need a permission.
    const args = { filePath: 'README.md', limit: 10 + reads }
    return messages.at(-1)?.content === 'held' ? reply : { tools: [{ name: 'read', args }] }
  })
  ;[taskID = ''] = await parent.launchInTurn('held', 'second')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  await stage.pass(5000)
  release({ text: 'first' })
  await parent.waitForNotice('the answer')
  await parent.call([
    { name: 'background_task', args: { task_id: taskID, prompt: 'go on' } },
    { name: 'run_background', args: { command: 'echo said; exit 3', description: 'a command that fails' } },
    backgroundTask('third', { after: [taskID] }),
  ])
  await parent.waitForNotice('third')
  await parent.waitForNotice('exit code 3')
  await parent.quiet()
  timeline = await timelineOf(stage.server.client, parent.id)
})
afterAll(() => stage.close())

const named = (description: string) => timeline.tasks.find((task) => task.description === description)

test('the timeline has each task with its runs, turns and tool calls', () => {
  const { tasks } = timeline
  expect(tasks.map(({ description, status }) => [description, status])).toEqual([
    ['held', 'completed'],
    ['second', 'completed'],
    // Both were started by one step of the parent, in any order.
    ...tasks.slice(2).map(({ description, status }) => [description, status]),
  ])
  const [held, second] = tasks
  expect(named('third')).toMatchObject({ status: 'completed', after: [taskID] })
  expect(held?.id).toBe(taskID)
  expect(held?.runs.map(({ run: each, status }) => [each, status])).toEqual([
    [1, 'completed'],
    [2, 'completed'],
  ])
  expect(second?.turns.flatMap(({ tools }) => tools.map(({ tool }) => tool))).toEqual(['read', 'read'])
  expect(second?.runs[0]?.phases.map(({ type }) => type)).toEqual(['queued', 'working'])
  expect(named('a command that fails')).toMatchObject({
    status: 'failed',
    kind: 'command',
    runs: [{ reason: 'exit' }],
  })
})

test('each end was noticed and then read by the parent, and a continued task is marked', () => {
  for (const { marks } of timeline.tasks) {
    const types = marks.map(({ type }) => type)
    expect(types).toContain('noticed')
    expect(types.lastIndexOf('read')).toBeGreaterThan(types.lastIndexOf('noticed'))
  }
  expect(timeline.tasks[0]?.marks.map(({ type }) => type)).toContain('continued')
})

test('the texts are the prompts, the results and the stories', () => {
  const [held, second] = timeline.tasks
  const failing = named('a command that fails')
  expect(held?.texts?.prompt).toBe('held\n\ngo on')
  expect(second?.texts).toMatchObject({ prompt: 'second', result: 'the answer, with <b>markup</b>' })
  expect(second?.texts?.story.join('\n')).toMatch(/queued.*\n.*starting/)
  expect(failing?.texts?.prompt).toBe('echo said; exit 3')
  expect(failing?.texts?.result).toContain('said')
})

test('the parent has its own turns, and the configured limit is known', () => {
  expect(timeline.turns.length).toBe(parent.requests.length)
  expect(timeline.limits).toEqual({ total: 1 })
})

test('a wait for a slot and a file that several agents have read are findings', () => {
  expect(timeline.findings).toEqual([
    '1 of 4 tasks failed: 1 exit.',
    expect.stringMatching(/^1 task waited \d\d % of its time for a slot: `concurrency\.total` is 1\.$/),
    'The same file was read 6 times by 3 agents: README.md.',
  ])
})

test('a redacted timeline names no text of the session', async () => {
  const redacted = await timelineOf(stage.server.client, parent.id, { redact: true })
  expect(JSON.stringify(redacted)).not.toMatch(/held|second|third|said|markup|README|A parent|opencode-home/)
  expect(redacted.tasks.map(({ id }) => id)).toEqual(timeline.tasks.map(({ id }) => id))
})

test('an unknown session is refused, and the progress counts each session', async () => {
  await expect(timelineOf(stage.server.client, 'ses_00000000000000000000000000')).rejects.toThrow(HostError)
  const seen: string[] = []
  await timelineOf(stage.server.client, parent.id, { onProgress: (done, all) => seen.push(`${done}/${all}`) })
  expect(seen).toEqual(['1/5', '2/5', '3/5', '4/5', '5/5'])
})

test('the command writes the page of the newest session by a running server', async () => {
  const { code, stdout, stderr } = await command(['--attach', stage.server.url])
  expect({ code, stderr }).toEqual({ code: 0, stderr: 'read 5 sessions\n' })
  const file = join(stage.server.directory, `timeline-${parent.id}.html`)
  expect(stdout).toBe(`${file}\n`)
  expect(readFileSync(file, 'utf8')).toContain(taskID)
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('the command starts a server of its own, and leaves no process behind', async () => {
  const file = join(stage.server.directory, 'own.html')
  writeFileSync(file, 'an older page', { mode: 0o644 })
  const { code, stdout } = await command([parent.id, '-o', 'own.html', '--redact'])
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${file}\n` })
  expect(readFileSync(file, 'utf8')).not.toContain('go on')
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a signal ends the command together with its server', async () => {
  const { file, options } = await commandOf()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = spawn(process.execPath, [file, 'timeline', parent.id], { ...options, stdio: 'ignore' })
    const exited = new Promise((resolve) => {
      child.once('exit', (_, by) => resolve(by))
    })
    const server = await vi.waitFor(
      () => Number(execFileSync('pgrep', ['-P', `${child.pid}`]).toString()),
      WAIT_LIMIT_MS,
    )
    child.kill(signal)
    expect(await exited).toBe(signal)
    await expect.poll(() => processKey(server)).toBeUndefined()
  }
})

test('a mistake in the command line is said, and writes nothing', async () => {
  const before = readdirSync(stage.server.directory)
  const mistakes = [
    [['abc'], /must be the id of a session/],
    [['ses_a', 'ses_b'], /one session at a time/],
    [['--attach', 'ftp://x'], /must be the URL of a server/],
    [['--nope'], /--nope/],
    [['ses_00000000000000000000000000', '--attach', stage.server.url], /refused session.get/],
    [['--attach', 'http://127.0.0.1:9'], /could not be reached/],
    [['-o', 'README.md/page.html', '--attach', stage.server.url], /README.md/],
  ] as const
  for (const [args, message] of mistakes) {
    const { code, stderr, stdout } = await command(args)
    expect(stderr).toMatch(message)
    expect({ args, stdout, isError: code > 0 }).toEqual({ args, stdout: '', isError: true })
  }
  expect(readdirSync(stage.server.directory)).toEqual(before)
})

test('the command names what is missing where there is no OpenCode', async () => {
  const { code, stderr } = await command([], { PATH: dirname(process.execPath) + '/none' })
  expect(code).toBe(1)
  expect(stderr).toMatch(/OpenCode could not be started: .*Is `opencode` in the PATH\?/)
})

test('what became of a task is unknown where the OpenCode that ran it is gone, and known elsewhere', async () => {
  const { client, directory } = stage.server
  const { data: left } = await client.session.create({ throwOnError: true })
  const running = { ...pendingTask(), status: 'running', startedAt: 2000, parentID: left.id } as const
  for (const host of [hostname(), 'another-host']) {
    const owner = { name: 'gone', directory, host, pid: 1, process: 'an earlier one' }
    const metadata = { [RECORD_KEY]: recordOf({ ...running, description: host }, owner, []) }
    const body = { parentID: left.id, title: host, metadata }
    await client.session.create({ body, throwOnError: true })
  }
  const { tasks } = await timelineOf(client, left.id)
  const lastOf = (host: string) =>
    tasks
      .find(({ description }) => description === host)
      ?.runs.at(-1)
      ?.phases.at(-1)?.type
  expect([lastOf(hostname()), lastOf('another-host')]).toEqual(['unknown', 'working'])
})
