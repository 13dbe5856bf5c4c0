import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { acrossKill } from '../harness/across-kill.ts'
import { isRunning } from '../harness/processes.ts'
import { never } from '../harness/replies.ts'
import type { ToolCall } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'
import { WAIT_LIMIT_MS } from '../harness/spy.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { commands: { killGraceMs: 1000 } } })
})
afterAll(() => stage.close())

function run(command: string, more: object = {}): ToolCall {
  return { name: 'run_background', args: { command, ...more } }
}

async function start(parent: Parent, command: string, more: object = {}): Promise<string> {
  const [answer = ''] = await parent.call([run(command, more)])
  const id = /bg_[0-9a-f]{8}/.exec(answer)?.[0]
  if (id === undefined) throw new Error(answer)
  return id
}

async function check(parent: Parent, taskId: string, more: object = {}): Promise<string> {
  const [answer = ''] = await parent.call([{ name: 'check_background', args: { taskId, ...more } }])
  return answer
}

test('a failed command is reported once, with its exit code and both streams apart', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'echo out; echo err >&2; sleep 1; exit 3', { label: 'try it' })
  await parent.waitForNotice('exit_code="3"')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain(`<background_task id="${id}" kind="command" status="failed"`)
  expect(parent.noticeText).toContain('try it')
  expect(parent.noticeText).toContain('out\n\nstderr:\nerr')
  const shown = await check(parent, id)
  expect(shown).toContain('❌ **ERROR**')
  expect(shown).toContain('| **Exit Code** | 3 |')
  expect(shown).toMatch(/stdout\)\*\*:\n```\nout\n```[^]*stderr\)\*\*:\n```\nerr\n```/)
})

test('a successful command is reported completed, and its output is a message that no model reads', async () => {
  const parent = await stage.parent()
  await start(parent, 'echo "it\'s $((6 * 7))"')
  await parent.waitForNotice("<result>it's 42</result>")
  await parent.quiet()
  expect(parent.noticeText).toContain('status="completed"')
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  const sessionID = data[0]?.id ?? ''
  const parts = (await stage.server.messages(sessionID)).flatMap((message) => message.parts)
  expect(parts).toMatchObject([{ type: 'text', text: "it's 42", ignored: true }])
  expect(parent.childRequests).toEqual([])
})

test('the story of a command has its times, the matched texts of its output, and its notice', async () => {
  const parent = await stage.parent()
  const line = 'echo ready; until [ -e told ]; do sleep 0.1; done; exit 3'
  const id = await start(parent, line, { notify_on: ['ready'] })
  await parent.waitForNotice('Its output has: ready')
  await parent.quietBesidesChildren()
  writeFileSync(join(stage.server.directory, 'told'), '')
  await parent.waitForNotice('exit_code="3"')
  await parent.quiet()
  const [story = ''] = await parent.call([{ name: 'background_output', args: { task_id: id, story: true } }])
  const steps = [...story.matchAll(/^ {2}\+\d+\.\ds {2}(.*)$/gm)].map(([, what]) => what)
  expect(steps).toEqual([
    'queued',
    'starting',
    'running',
    'output matched: ready',
    'notice sent',
    "notice confirmed: the parent's model has read it",
    'failed: exit: exit code 3',
    'notice owed',
    'notice sent',
    "notice confirmed: the parent's model has read it",
    'now',
  ])
})

test('a kill ends a command with all its processes, and no notice follows', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'sh -c "sleep 1234 & sleep 1235"', { timeout: 0 })
  await expect.poll(() => isRunning('sleep 1235')).toBe(true)
  const [answer] = await parent.call([{ name: 'kill_background', args: { taskId: id } }])
  expect(answer).toContain(`🛑 Task \`${id}\` has been killed.`)
  expect(isRunning('sleep 123')).toBe(false)
  await parent.quiet()
  await stage.pass(10_000)
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(0)
})

test('a command that ignores SIGTERM is gone after the grace period', async () => {
  const parent = await stage.parent()
  const line = `trap '' TERM; echo deaf now; while true; do sleep 0.5; done # deaf`
  const id = await start(parent, line, { timeout: 0 })
  await expect.poll(() => check(parent, id)).toContain('\ndeaf now\n')
  const [answer] = await parent.call([{ name: 'kill_background', args: { task_id: id } }])
  expect(answer).toContain('has been killed')
  expect(isRunning('# deaf')).toBe(false)
})

test('a command that exceeds its timeout is ended with all its processes, and reported as failed', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'echo begun; sleep 1236 & sleep 1237', { timeout: 30_000 })
  await expect.poll(() => check(parent, id)).toContain('\nbegun\n')
  await stage.pass(30_000)
  await parent.waitForNotice('which is its limit (timeout)')
  expect(parent.noticeText).toContain('<error>stopped after 30.0s')
  expect(parent.noticeText).toContain('<partial>begun')
  expect(isRunning('sleep 123')).toBe(false)
})

test('a text of notify_on is reported once, and the command continues', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'sleep 1; echo Listening on 3000; sleep 600', {
    timeout: 0,
    notify_on: ['Listening on', 'never said'],
  })
  await parent.waitForNotice('Its output has: Listening on')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(await check(parent, id)).toContain('⏳ running')
  await parent.call([{ name: 'kill_background', args: { task_id: id } }])
})

acrossKill(() => stage, {
  'a command survives a kill of the server, and the next user message carries its end, once': survives,
  'a command that runs on after a restart is adopted, watched, and reported at its end': isAdopted,
  'kill_background ends a command that was adopted after a restart': isKilledAfterwards,
})

/** For a wait in a hook, where `expect.poll` is not to be had. */
const PATIENT = { timeout: WAIT_LIMIT_MS }

async function survives(): Promise<() => Promise<void>> {
  const parent = await stage.parent()
  const id = await start(parent, 'echo before; until [ -e go ]; do sleep 0.1; done; echo after; exit 7')
  await vi.waitUntil(() => isRunning('until [ -e go ]'), PATIENT)
  return async () => {
    const asked = parent.requests.length
    writeFileSync(join(stage.server.directory, 'go'), '')
    await expect.poll(() => isRunning('until [ -e go ]')).toBe(false)
    await stage.pass(60_000)
    expect(parent.requests).toHaveLength(asked)
    await parent.say('where were we')
    await parent.say('thanks')
    expect(parent.noticeText.match(new RegExp(`id="${id}"`, 'g'))).toHaveLength(1)
    expect(parent.noticeText).toContain('exit_code="7"')
    expect(parent.noticeText).toContain('before\nafter')
  }
}

async function isAdopted(): Promise<() => Promise<void>> {
  const parent = await stage.parent()
  const wait = 'until [ -e on ]; do sleep 0.2; done'
  const id = await start(parent, `echo before; ${wait}; echo after`, { notify_on: ['after'] })
  await vi.waitUntil(() => isRunning('until [ -e on ]'), PATIENT)
  return async () => {
    expect(await check(parent, id)).toContain('⏳ running')
    writeFileSync(join(stage.server.directory, 'on'), '')
    await parent.waitForNotice('status="completed"')
    await parent.quiet()
    expect(parent.noticeText.match(/status="completed"/g)).toHaveLength(1)
    expect(parent.noticeText).toContain('before\nafter')
  }
}

async function isKilledAfterwards(): Promise<() => Promise<void>> {
  const parent = await stage.parent()
  const id = await start(parent, 'sleep 1238 & sleep 1239', { timeout: 0 })
  await vi.waitUntil(() => isRunning('sleep 1239'), PATIENT)
  return async () => {
    const [answer] = await parent.call([{ name: 'background_cancel', args: { task_id: id } }])
    expect(answer).toContain('has been killed')
    expect(isRunning('sleep 123')).toBe(false)
  }
}

test('an orphaned command retains its time limit, and is reported to its own parent', async () => {
  const [parent, other] = [await stage.parent(), await stage.parent()]
  await start(parent, 'sleep 1243', { timeout: 0 })
  // Started last: its limit must not pass before OpenCode is killed.
  const limited = await start(parent, 'echo begun; sleep 1242', { timeout: 15_000 })
  await expect.poll(() => isRunning('sleep 1242') && isRunning('sleep 1243')).toBe(true)
  await stage.restart('SIGKILL')
  // Do not use `say`: it advances the plugin's time, and the files would show the limit as passed too early.
  await stage.server.prompt(other.id, 'hello')
  await expect.poll(() => isRunning('sleep 1242')).toBe(false)
  expect(isRunning('sleep 1243')).toBe(true)
  await parent.say('where were we')
  expect(parent.noticeText).toMatch(new RegExp(`id="${limited}"[^]*<error>stopped after 15.0s[^]*begun`))
  expect(other.noticeText).toBe('')
  await stage.restart('SIGTERM')
  await expect.poll(() => isRunning('sleep 1243')).toBe(false)
})

test('leftover processes run on, are shown, and end with kill_background or with OpenCode', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'sleep 1244 & echo up')
  await parent.waitForNotice('up\n\n[It has left processes running: kill_background ends them.]</result>')
  await parent.quiet()
  expect(isRunning('sleep 1244')).toBe(true)
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('✅ done, has leftover processes')
  expect(await check(parent, id)).toContain('| **Left running** | leftover processes;')
  const [answer] = await parent.call([{ name: 'kill_background', args: { task_id: id } }])
  expect(answer).toContain('had ended already (completed). Its leftover processes were killed.')
  expect(isRunning('sleep 1244')).toBe(false)
  expect(await check(parent, id)).not.toContain('Left running')
  await start(parent, 'sleep 1246 & echo up a second time')
  await parent.waitForNotice('up a second time')
  const [all] = await parent.call([{ name: 'background_cancel', args: { all: true } }])
  expect(all).toContain('Its leftover processes were killed.')
  expect(isRunning('sleep 1246')).toBe(false)
  await start(parent, 'sleep 1245 & echo up again')
  await parent.waitForNotice('up again')
  await stage.restart('SIGTERM')
  await expect.poll(() => isRunning('sleep 1245')).toBe(false)
})

test.each(['SIGTERM', 'dispose'])(
  'an end of OpenCode by %s leaves no command behind, and reports them as interrupted',
  async (way) => {
    const parent = await stage.parent()
    const id = await start(parent, 'sleep 1240 & sleep 1241', { timeout: 0 })
    await expect.poll(() => isRunning('sleep 1241')).toBe(true)
    await parent.quiet()
    const { url, directory } = stage.server
    if (way === 'SIGTERM') await stage.restart('SIGTERM')
    else await fetch(`${url}/instance/dispose?directory=${encodeURIComponent(directory)}`, { method: 'POST' })
    await expect.poll(() => isRunning('sleep 124')).toBe(false)
    await expect.poll(async () => (await stage.server.client.session.status()).response.status).toBe(200)
    await parent.say('where were we')
    expect(parent.noticeText).toContain(`id="${id}"`)
    expect(parent.noticeText).toContain('<error>the process that started it stopped before')
  },
)

test('a hundred short commands are all reported in few messages, and leave no descriptor open', async () => {
  const parent = await stage.parent()
  // Do not count sockets: they are the host's connections for its own calls.
  const open = (): number =>
    readdirSync(`/proc/${stage.server.pid}/fd`).filter((name) => {
      const path = `/proc/${stage.server.pid}/fd/${name}`
      return existsSync(path) && !readlinkSync(path).startsWith('socket:')
    }).length
  await start(parent, 'true')
  await parent.waitForNotice('status="completed"')
  await parent.quiet()
  const before = { open: open(), turns: parent.noticeTurns.length }
  const answers = await parent.call(Array.from({ length: 100 }, (_, index) => run(`echo number ${index}`)))
  expect(answers).toHaveLength(100)
  await expect.poll(() => parent.noticeText.match(/status="completed"/g)?.length).toBe(101)
  await parent.quiet()
  for (let index = 0; index < 100; index += 1)
    expect(parent.noticeText).toContain(`<result>number ${index}</result>`)
  expect(parent.noticeTurns.length - before.turns).toBeLessThanOrEqual(25)
  expect(open() - before.open).toBeLessThanOrEqual(2)
})

test('long output costs the server no memory, and its end is shown at once, exact to the byte', async () => {
  // Servers of tests have no garbage collector, but this one.
  const collected = await startStage({ env: { BUN_JSC_useGC: '1' } })
  try {
    const parent = await collected.parent()
    const memory = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${collected.server.pid}/status`, 'utf8'))?.[1]) * 1024
    const print = async (lines: number): Promise<string> => {
      const read = join(collected.server.directory, `read-${lines}`)
      const wait = `until [ -e ${read} ]; do sleep 0.1; done`
      const command = `seq -f "line %.0f of very many lines" 1 ${lines}; ${wait}; printf "the 🌍 end"`
      const id = await start(parent, command)
      await expect.poll(() => isRunning(`lines" 1 ${lines}`)).toBe(true)
      expect(await check(parent, id)).toContain('of very many lines')
      writeFileSync(read, '')
      await parent.waitForNotice(id)
      return check(parent, id, { tailLines: 2 })
    }
    // The turns themselves cost the server some memory.
    for (const lines of [10, 20]) await print(lines)
    const atFirst = memory()
    await print(30)
    const before = memory()
    const shown = await print(2_000_000)
    const cost = memory() - before - (before - atFirst)
    expect(shown).toContain('```\nline 2000000 of very many lines\nthe 🌍 end\n```')
    // A server that held the output would grow by all of it. Its heap alone varies by some 20 MB from turn to turn.
    const outputBytes = 2_000_000 * 'line 1000000 of very many lines\n'.length
    expect(cost / outputBytes).toBeLessThan(0.5)
  } finally {
    await collected.close()
  }
})

test('a notice has the end of a long output, and says how much precedes it and where', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'seq 1 100000; echo the end')
  await parent.waitForNotice(id)
  await parent.quiet()
  const told = /<result>([^]*?)<\/result>/.exec(parent.noticeText)?.[1] ?? ''
  const total =
    Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join('').length + 'the end\n'.length
  const [, left] = /^\[… (\d+) bytes before this are in \S+\/stdout …\]\n\d/.exec(told) ?? []
  expect(told.endsWith('99999\n100000\nthe end')).toBe(true)
  expect(Number(left) + Buffer.byteLength(told.slice(told.indexOf('\n') + 1))).toBe(total - 1)
  const shown = await check(parent, id)
  expect(shown).toMatch(/its end\. \d+ bytes come before it: check_background with offset: 0:\n```\n\d+\n/)
  expect(shown).toContain('99999\n100000\nthe end\n```')
})

test('a command runs in the folder of cwd, and of workdir as in the bash tool', async () => {
  const parent = await stage.parent()
  mkdirSync(join(stage.server.directory, 'inner'), { recursive: true })
  await start(parent, 'pwd # one', { cwd: 'inner' })
  await start(parent, 'pwd # two', { workdir: 'inner' })
  await expect.poll(() => parent.noticeText.match(/\/inner<\/result>/g)).toHaveLength(2)
})

test('run_background refuses bad input clearly, and starts nothing', async () => {
  const parent = await stage.parent()
  const answers = await parent.call([
    run('  '),
    run('echo hi', { cwd: 'no/such/folder' }),
    run('echo hi', { cwd: 'README.md' }),
    run('echo "unfinished'),
    run('echo \0'),
    run('echo hi', { timeout: 'soon' }),
    { name: 'check_background', args: { taskId: 'bg_00000000' } },
    { name: 'kill_background', args: {} },
  ])
  expect(answers.map((answer) => answer.slice(0, 400))).toEqual([
    expect.stringContaining('command: must not be empty'),
    expect.stringMatching(/cwd: .*no\/such\/folder does not exist. Nothing was started./),
    expect.stringContaining('is not a directory'),
    expect.stringContaining('cannot be parsed'),
    expect.stringContaining('must not contain a NUL character'),
    expect.stringContaining('timeout:'),
    expect.stringContaining('Task "bg_00000000" not found.'),
    expect.stringContaining('task_id:'),
  ])
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  expect(data).toEqual([])
})

test("a command has the environment of OpenCode's own bash tool, and unbuffered Python", async () => {
  const parent = await stage.parent()
  const line = "env | grep -vE '^(PWD|OLDPWD|SHLVL|_)=' | sort"
  const [theirs = ''] = await parent.call([
    { name: 'bash', args: { command: line, description: 'Shows it' } },
  ])
  const id = await start(parent, line)
  await parent.waitForNotice(id)
  const ours = /```\n([^]*?)\n```/.exec(await check(parent, id))?.[1]
  expect(ours?.split('\n').length).toBeGreaterThan(5)
  expect(ours?.replace('PYTHONUNBUFFERED=1\n', '')).toBe(theirs.trim())
  expect(ours).toContain('PYTHONUNBUFFERED=1\n')
})

test('the tools for agents accept the id of a command, and the list shows both kinds', async () => {
  const parent = await stage.parent(never)
  const [agentID = ''] = await parent.launch('think')
  const id = await start(parent, 'echo one; echo two; sleep 600', { timeout: 0, label: 'count' })
  await expect.poll(() => check(parent, id)).toContain('\none\ntwo\n')
  const [list, output, said, cancelled] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_output', args: { task_id: id } },
    { name: 'background_task', args: { task_id: id, prompt: 'faster' } },
    { name: 'background_cancel', args: { all: true } },
  ])
  expect(list).toMatch(new RegExp(`\\| \`${agentID}\` \\| ⏳ running \\| general \\| think`))
  expect(list).toMatch(new RegExp(`\\| \`${id}\` \\| ⏳ running \\| command \\| count`))
  expect(output).toContain('```\none\ntwo\n```')
  expect(said).toContain('is a command: it reads no prompts')
  expect(cancelled).toContain(`${id} (count) was cancelled after`)
  expect(cancelled).toContain(`${agentID} (think) was cancelled`)
  expect(isRunning('echo one; echo two; sleep 600')).toBe(false)
})

test('rules for bash apply to each simple command of a line, which starts only when all are granted', async () => {
  const strict = stage.project({
    config: { permission: { bash: { '*': 'allow', 'rm *': 'deny', 'git push *': 'ask' } } },
  })
  const events = await strict.subscribe()
  const parent = await stage.parent(undefined, {}, strict)
  const [denied] = await parent.call([run('echo a; rm -rf nothing')])
  expect(denied).toContain('prevents you from using this specific tool call')
  await parent.quiet()
  const { data: none } = await strict.client.session.children({ path: { id: parent.id }, throwOnError: true })
  expect(none).toEqual([])
  const answer = parent.call([run('echo first && git push nowhere')])
  const asked = await events.waitFor(({ type }) => type === 'permission.asked')
  const patterns = ['echo first', 'git push nowhere']
  expect(asked).toMatchObject({ properties: { permission: 'bash', patterns } })
  const permissionID = asked.type === 'permission.asked' ? asked.properties.id : ''
  await strict.client.postSessionIdPermissionsPermissionId({
    path: { id: parent.id, permissionID },
    body: { response: 'once' },
  })
  expect((await answer)[0]).toContain('Background Task Started')
  await parent.waitForNotice('<partial>first')
  events.close()
})
