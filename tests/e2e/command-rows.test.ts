/** Reported problems with background commands, by the rows of the reports, on the real OpenCode. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isRunning } from '../harness/processes.ts'
import type { ToolCall } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { commands: { killGraceMs: 1000 } } })
})
afterAll(() => stage.close())

const call = (name: string, args: object): ToolCall => ({ name, args: { ...args } })

async function start(parent: Parent, command: string, more: object = {}): Promise<string> {
  const [answer = ''] = await parent.call([call('run_background', { command, ...more })])
  return /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
}

async function check(parent: Parent, taskId: string): Promise<string> {
  const [answer = ''] = await parent.call([call('check_background', { taskId })])
  return answer
}

// This test is first, because a restart resets the plugin's clock to the machine's.
test('Five minutes: a server that survives a kill of OpenCode is not reaped, its session active or not', async () => {
  const [parent, other] = [await stage.parent(), await stage.parent()]
  const code = "require('net').createServer().listen(0, () => console.log('up'))"
  writeFileSync(join(stage.server.directory, 'stray.cjs'), code)
  const id = await start(parent, 'node stray.cjs # by default')
  await expect.poll(() => check(parent, id)).toContain('\nup\n')
  await stage.restart('SIGKILL')
  await other.say('hello')
  await stage.pass(310_000)
  expect(isRunning('node stray.cjs')).toBe(true)
  await parent.say('where were we')
  await parent.waitForNotice('It listens on port')
  expect(await check(parent, id)).toContain('| **Timeout** | none, since it listens on port')
  await parent.call([call('kill_background', { task_id: id })])
})

test("Exit codes: a notice reports a program's own exit code above 128 as a code, not as a signal", async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'exit 143')
  await parent.waitForNotice('exit_code="143"')
  expect(parent.noticeText).toContain('<error>exit code 143, as after SIGTERM</error>')
  expect(parent.noticeText).not.toContain('signal=')
  expect(await check(parent, id)).toContain('| **Exit Code** | 143, as after SIGTERM |')
  await start(parent, 'kill -TERM $$; sleep 60')
  await parent.waitForNotice('signal="SIGTERM"')
  expect(parent.noticeText).toContain('<error>ended by SIGTERM</error>')
})

test('R23: a notice reports a text of notify_on from leftover processes of an ended command', async () => {
  const parent = await stage.parent()
  const wait = 'until [ -e go23 ]; do sleep 0.1; done'
  const id = await start(parent, `(${wait}; echo ready; sleep 3) & echo up`, { notify_on: ['ready'] })
  await parent.waitForNotice('Their output is watched for its notify_on texts.')
  writeFileSync(join(stage.server.directory, 'go23'), '')
  await parent.waitForNotice('Its output has: ready')
  expect(parent.noticeText).toMatch(
    new RegExp(`id="${id}" kind="command" status="completed">\n[^\n]*\nIts output has`),
  )
  await parent.quiet()
  await expect.poll(() => isRunning('go23')).toBe(false)
  await stage.pass(10_000)
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(2)
})

test('R23: a notice reports that a text can no longer appear, after the last leftover process too', async () => {
  const parent = await stage.parent()
  await start(parent, 'echo up', { notify_on: ['ready'] })
  await parent.waitForNotice('up\n\n[None of its notify_on texts appeared.]')
  const wait = 'until [ -e gone23 ]; do sleep 0.1; done'
  await start(parent, `(${wait}) & echo again`, { notify_on: ['ready'] })
  await parent.waitForNotice('again')
  writeFileSync(join(stage.server.directory, 'gone23'), '')
  await parent.waitForNotice('had left running have ended. None of its notify_on texts appeared.')
  const id = await start(parent, 'sleep 2323 & echo third', { notify_on: ['ready'] })
  await parent.waitForNotice('third')
  await parent.call([call('kill_background', { task_id: id })])
  await stage.pass(10_000)
  await parent.quiet()
  expect(parent.noticeText.match(/have ended\. None/g)).toHaveLength(1)
})

/** The default limit in these tests instead of five minutes, because advancing the plugin's time is slow. */
const LIMIT_MS = 20_000

/** Creates a parent in a project with that limit. */
async function limited(): Promise<{ parent: Parent; directory: string }> {
  const project = stage.project({ options: { commands: { timeoutMs: LIMIT_MS } } })
  return { parent: await stage.parent(undefined, {}, project), directory: project.directory }
}

test('Five minutes: a server that listens on a port runs past the default limit, and a notice says so', async () => {
  const { parent, directory } = await limited()
  const code =
    "const s = require('net').createServer().listen(0, () => console.log('on', s.address().port, '.'))"
  writeFileSync(join(directory, 'server.cjs'), code)
  const [answer = ''] = await parent.call([call('run_background', { command: 'node server.cjs' })])
  const id = /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
  expect(answer).toContain(
    '| **Timeout** | 20.0s by default; a command that proves to be a server keeps running |',
  )
  await expect.poll(() => check(parent, id)).toMatch(/\non \d+ \./)
  await stage.pass(LIMIT_MS)
  await parent.waitForNotice('It listens on port')
  expect(parent.noticeText).toMatch(
    /port \d+ after ([2-9]\d\.\d|\dm \d+)s, the default time limit: it runs on without a limit/,
  )
  await stage.pass(LIMIT_MS)
  expect(await check(parent, id)).toMatch(/Timeout\*\* \| none, since it listens on port \d+ \|/)
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  await parent.call([call('kill_background', { task_id: id })])
})

test('Five minutes: a server that has written its text runs on, and its notice says without a limit', async () => {
  const { parent } = await limited()
  const id = await start(parent, 'echo ready; sleep 2324', { notify_on: ['ready'] })
  await parent.waitForNotice('Its output has: ready\nIt runs on without a time limit.')
  await stage.pass(2 * LIMIT_MS)
  expect(isRunning('sleep 2324')).toBe(true)
  expect(await check(parent, id)).toContain(
    '| **Timeout** | none, since its output contains a text of notify_on |',
  )
  await parent.call([call('kill_background', { task_id: id })])
})

test('Five minutes: a command that is no server, or has a timeout, is stopped at its limit', async () => {
  const { parent } = await limited()
  await start(parent, 'sleep 2325')
  await expect.poll(() => isRunning('sleep 2325')).toBe(true)
  await stage.pass(LIMIT_MS)
  await parent.waitForNotice('stopped after 20.0s, which is the default limit: give a timeout, or 0 for none')
  await start(parent, 'echo ready; sleep 2326', { timeout: 5000, notify_on: ['ready'] })
  await parent.waitForNotice('Its output has: ready\n<')
  await stage.pass(5000)
  await parent.waitForNotice('stopped after 5.0s, which is its limit (timeout)')
  expect(isRunning('sleep 232')).toBe(false)
})

const ESBUILD = fileURLToPath(new URL('../../node_modules/.bin/esbuild', import.meta.url))

test('stdin: the notice of a watcher names open_stdin, with which it survives a kill of OpenCode', async () => {
  const parent = await stage.parent()
  writeFileSync(join(stage.server.directory, 'watched.js'), 'console.log(1)')
  const line = `${ESBUILD} watched.js --outfile=built.js --watch`
  await start(parent, line)
  await parent.waitForNotice('exit_code="0"')
  expect(parent.noticeText).toContain('open_stdin: true keeps it open.]')
  const id = await start(parent, line, { open_stdin: true, timeout: 0, notify_on: ['watching for changes'] })
  await parent.waitForNotice('Its output has: watching for changes')
  await stage.restart('SIGKILL')
  writeFileSync(join(stage.server.directory, 'watched.js'), 'console.log(2)')
  const built = (): string => readFileSync(join(stage.server.directory, 'built.js'), 'utf8')
  await expect.poll(built).toContain('console.log(2)')
  await parent.call([call('kill_background', { task_id: id })])
  expect(isRunning('watched.js')).toBe(false)
})

test("Buffered output: notify_on finds Python's output without a terminal at once", async () => {
  const parent = await stage.parent()
  writeFileSync(join(stage.server.directory, 'late.py'), 'import time\nprint("listening")\ntime.sleep(600)\n')
  const id = await start(parent, '/usr/bin/python3 late.py', { notify_on: ['listening'] })
  await parent.waitForNotice('Its output has: listening')
  expect(await check(parent, id)).toContain('⏳ running')
  await parent.call([call('kill_background', { task_id: id })])
})

test('Questions: a command that asks the user ends, because it has neither input nor terminal', async () => {
  const parent = await stage.parent()
  const asking = [
    'read -r answer || echo no input',
    'read -r answer </dev/tty || echo no terminal',
    `printf 'protocol=https\\nhost=nowhere.invalid\\n\\n' | git -c credential.helper= credential fill`,
    `/usr/bin/python3 -c 'import getpass; getpass.getpass()'`,
    'ssh-keygen -f key23',
  ]
  for (const line of asking) {
    const id = await start(parent, line)
    await parent.waitForNotice(id)
  }
  expect(parent.noticeText).toContain('no input')
  expect(parent.noticeText).toContain('no terminal')
  expect(parent.noticeText).toMatch(/could not read Username .* No such device or address/)
  expect(parent.noticeText).toContain('EOFError')
})

const CLEANING_MS = 60_000

test('Disk: the files of the oldest reported command are removed first, and check_background says so', async () => {
  const project = stage.project({ options: { commands: { maxTotalBytes: 25_000 } } })
  const parent = await stage.parent(undefined, {}, project)
  const ids: string[] = []
  for (const letter of ['a', 'b', 'c']) {
    const id = await start(parent, `head -c 10000 /dev/zero | tr '\\0' ${letter}`)
    await parent.waitForNotice(id)
    await parent.quiet()
    ids.push(id)
  }
  await stage.pass(CLEANING_MS)
  const [first = '', second = '', third = ''] = ids
  await expect.poll(() => check(parent, first)).toContain('Its output is gone: its files were removed.')
  expect(await check(parent, second)).toContain('bbb')
  expect(await check(parent, third)).toContain('ccc')
})

test('Disk: the files of a command with an unreported end stay, whatever their size', async () => {
  const options = { commands: { maxTotalBytes: 1024 }, notify: { wake: 'never' } }
  const project = stage.project({ options })
  const parent = await stage.parent(undefined, {}, project)
  const id = await start(parent, `head -c 10000 /dev/zero | tr '\\0' d; echo 'the end'`)
  await parent.quiet()
  await stage.pass(2 * CLEANING_MS)
  await stage.restart('SIGKILL')
  const later = stage.server.project(project.directory)
  await later.prompt(parent.id, 'where were we')
  await expect.poll(() => parent.noticeText).toMatch(new RegExp(`id="${id}"[^]*dthe end</result>`))
})

test('Disk: a full disk is reported for a command with cut output and for one that cannot start', async () => {
  const place = '"$XDG_STATE_HOME/opencode-background"'
  const mount = `mkdir -p ${place} && mount -t tmpfs -o size=3m tmpfs ${place} && exec "$@"`
  const small = await startStage({ as: ['unshare', '--mount', 'sh', '-c', mount, 'sh'] })
  try {
    const parent = await small.parent()
    await start(parent, `head -c 5000000 /dev/zero | tr '\\0' x`)
    await parent.waitForNotice('[The disk is full: some of its output may be missing.]')
    await start(parent, 'echo never')
    await parent.waitForNotice('it could not be started, as the disk is full: ENOSPC')
    expect(parent.noticeText).not.toContain('<result>never')
  } finally {
    await small.close()
  }
})

const DIRENV = fileURLToPath(new URL('../harness/direnv.ts', import.meta.url))

test("shell.env: the option gives commands another plugin's variables; without it the list names it", async () => {
  const other = await startStage({ before: [[DIRENV, {}]] })
  try {
    const project = other.project({ options: { commands: { shellEnv: true } }, config: {} })
    const [plain, added] = [await other.parent(), await other.parent(undefined, {}, project)]
    const line = 'echo "the hook said: $FROM_HOOK"'
    await start(plain, line)
    await plain.waitForNotice('the hook said: </result>')
    const [theirs] = await plain.call([{ name: 'bash', args: { command: line, description: 'Says it' } }])
    expect(theirs).toContain(`the hook said: ${other.server.directory}`)
    await start(plain, line)
    const [list] = await plain.call([call('list_background', {})])
    expect(list).toContain('the option commands.shellEnv: true gives them')
    await start(added, line)
    await added.waitForNotice(`the hook said: ${project.directory}</result>`)
    const { data: open } = await project.client.pty.list({ throwOnError: true })
    expect(open).toEqual([])
  } finally {
    await other.close()
  }
})
