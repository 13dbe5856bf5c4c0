import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { acrossKill } from '../harness/across-kill.ts'
import { heldReply, never } from '../harness/replies.ts'
import type { Script, ToolCall } from '../harness/script.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import {
  deadlyGit,
  directoryOf,
  idOf,
  launchInTree as launch,
  placeOf,
  writes,
  type DeadlyGit,
} from '../harness/trees.ts'

let stage: Stage
let deadly: DeadlyGit

beforeAll(async () => {
  deadly = deadlyGit()
  stage = await startStage({
    // The worktrees of all tests are in one project.
    options: { pollMs: 600_000, worktree: { max: 30 } },
    env: deadly.env,
  })
  const writer = { mode: 'subagent', description: 'Writes.', prompt: 'You write.' }
  writeFileSync(join(stage.server.directory, 'opencode.json'), JSON.stringify({ agent: { writer } }))
  await stage.restart('SIGTERM')
})
afterAll(async () => {
  await stage.close()
  deadly.close()
})

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

/** What only an apply may change. */
function standing(): { readonly status: string; readonly index: string } {
  return {
    status: git('--no-optional-locks', 'status', '--porcelain=v2', '--branch'),
    index: readFileSync(join(stage.server.directory, '.git', 'index')).toString('hex'),
  }
}

/** Answers as a child that writes a file, and works on until the end of OpenCode. */
function writesAndWorksOn(path: string): Script {
  return (request) =>
    request.messages.some(({ role }) => role === 'tool') ? never() : writes(path, 'work\n')(request)
}

/** Answers as a child that writes the file which its newest prompt names. */
const writesWhatIsAsked: Script = (request) => {
  const asked = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
  const name = /file (\S+)/.exec(asked)?.[1] ?? ''
  if (request.messages.at(-1)?.role === 'tool') return { text: `wrote ${name}` }
  return { tools: [{ name: 'write', args: { filePath: join(directoryOf(request), name), content: name } }] }
}

/** Resolves when the child of a parent has written its file. */
async function hasWritten(parent: Parent): Promise<void> {
  await stage.model.waitForRequest(
    (request) => request.parentSessionID === parent.id && request.messages.at(-1)?.role === 'tool',
  )
}

/**
 * Has the parent make calls, waits until git has ended OpenCode, and starts it again; resolves with the parent.
 *
 * @param armed settles once git is armed, if the calls arm it
 */
async function endedBy(parent: Parent, calls: readonly ToolCall[], armed?: Promise<void>): Promise<Parent> {
  // The model may never read the results.
  await stage.server.prompt(parent.id, `CALL ${JSON.stringify(calls)} END`)
  await armed
  await expect.poll(() => deadly.isArmed).toBe(false)
  await stage.restart('SIGKILL')
  return stage.parentAt(parent.id)
}

interface Metadata {
  readonly background: object
  readonly backgroundRequest?: object
}

/** Calls OpenCode as a client in the directory of the project does. */
async function send(method: string, path: string, body: object): Promise<void> {
  const { directory, url } = stage.server
  await fetch(`${url}${path}?directory=${encodeURIComponent(directory)}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

const inTree = (description: string): ToolCall => backgroundTask(description, { worktree: true })
const applies = (task_id: string): readonly ToolCall[] => [{ name: 'background_apply', args: { task_id } }]
const nextRun = (task_id: string, prompt: string): readonly ToolCall[] => [
  { name: 'background_task', args: { task_id, prompt, description: 'Again' } },
]

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'what an agent wrote in its worktree before %s is on its branch, and its next run has it',
  async (signal) => {
    const file = `${signal}.txt`
    let script = writesAndWorksOn(file)
    const parent = await stage.parent((request) => script(request))
    const before = standing()
    const id = idOf(await launch(parent, 'be killed'))
    await hasWritten(parent)
    const directory = placeOf(parent)
    await stage.restart(signal)
    const again = stage.parentAt(parent.id)
    await again.say('What is new?')
    await again.waitForNotice(file)
    expect(again.noticeText).toContain('status="failed"')
    expect(git('show', `opencode-background/${id}-be-killed:${file}`)).toBe('work\n')
    expect(standing()).toEqual(before)
    script = ({ messages }) =>
      messages.at(-1)?.role === 'tool'
        ? { text: `found ${messages.at(-1)?.content}` }
        : { tools: [{ name: 'bash', args: { command: `pwd; cat ${file}`, description: 'Look' } }] }
    await again.call(nextRun(id, 'go on'))
    await again.waitForNotice(`found ${directory}\nwork`)
  },
)

acrossKill(() => stage, {
  // First, because no session has spoken in the new process yet.
  'a terminal UI is answered how an agent in a worktree ended that was killed, and no session is woken':
    isAnswered,
  'an agent of the project that left its worktree unchanged works in it again after a restart':
    worksInItAgain,
  'an agent of the project whose worktree was removed by hand works in it again after a restart':
    worksInRemovedAgain,
  'the end of an agent in a worktree that was told before a kill is told once, and can be applied':
    isToldOnce,
})

async function worksInItAgain(): Promise<() => Promise<void>> {
  let script: Script = () => ({ text: 'nothing to do' })
  const parent = await stage.parent((request) => script(request))
  const [answer = ''] = await parent.call([backgroundTask('wait', { worktree: true, agent: 'writer' })])
  const id = idOf(answer)
  await parent.waitForNotice('its worktree was removed')
  const directory = placeOf(parent)
  await parent.quiet()
  return async () => {
    const again = stage.parentAt(parent.id)
    const [output] = await again.call([{ name: 'background_output', args: { task_id: id } }])
    expect(output).toContain('nothing to do')
    script = (request) =>
      request.messages.at(-1)?.role === 'tool'
        ? { text: `wrote: ${request.messages.at(-1)?.content}` }
        : { tools: [{ name: 'write', args: { filePath: join(directory, 'again.txt'), content: 'x' } }] }
    await again.call(nextRun(id, 'write it'))
    await again.waitForNotice('wrote: ')
    expect(again.noticeText).toContain('1 file (+1 -0): again.txt.')
  }
}

async function worksInRemovedAgain(): Promise<() => Promise<void>> {
  const parent = await stage.parent(writesWhatIsAsked)
  const [answer = ''] = await parent.call([backgroundTask('file a.txt', { worktree: true, agent: 'writer' })])
  const id = idOf(answer)
  await parent.waitForNotice('wrote a.txt')
  git('worktree', 'remove', placeOf(parent))
  await parent.quiet()
  return async () => {
    const again = stage.parentAt(parent.id)
    const [output] = await again.call([{ name: 'background_output', args: { task_id: id } }])
    expect(output).toContain('wrote a.txt')
    await again.call(nextRun(id, 'file b.txt'))
    await again.waitForNotice('wrote b.txt')
    expect(again.noticeText).toContain('2 files (+2 -0): a.txt, b.txt.')
  }
}

async function isAnswered(): Promise<() => Promise<void>> {
  const parent = await stage.parent(writesAndWorksOn('seen.txt'))
  await launch(parent, 'be seen')
  await hasWritten(parent)
  const { sessionID = '' } = parent.childRequests[0] ?? {}
  return async () => {
    const asked = stage.model.requests.length
    const child = async (): Promise<Metadata> => {
      const { metadata } = (await stage.server.get(`/session/${sessionID}`)) as { metadata: Metadata }
      return metadata
    }
    const backgroundRequest = { id: 'ask', run: 1, kind: 'look' }
    await send('PATCH', `/session/${sessionID}`, { metadata: { ...(await child()), backgroundRequest } })
    const properties = { command: `background.request.${sessionID}` }
    await send('POST', '/tui/publish', { type: 'tui.command.execute', properties })
    await expect.poll(child).toMatchObject({
      background: { status: 'failed', changes: { type: 'committed', paths: ['seen.txt'] } },
      backgroundRequest: { ...backgroundRequest, answer: { ok: true } },
    })
    expect(stage.model.requests).toHaveLength(asked)
  }
}

async function isToldOnce(): Promise<() => Promise<void>> {
  const parent = await stage.parent(writes('told.txt', 'work\n'))
  const id = idOf(await launch(parent, 'tell'))
  await parent.waitForNotice('told.txt')
  await parent.quiet()
  return async () => {
    const again = stage.parentAt(parent.id)
    await again.say('What is new?')
    expect(again.noticeText.split(`id="${id}"`)).toHaveLength(2)
    const [answer] = await again.call(applies(id))
    expect(answer).toContain('are in your checkout, unstaged:\n- told.txt')
    expect(readFileSync(join(stage.server.directory, 'told.txt'), 'utf8')).toBe('work\n')
  }
}

test.each([
  ['before its worktree is made', 'before', 'worktree add'],
  ['after its worktree is made', 'after', 'worktree add'],
] as const)('an agent that is killed %s has not started, and its next run starts', async (_, when, what) => {
  const parent = await stage.parent(writesWhatIsAsked)
  const before = standing()
  deadly.arm(when, what)
  const again = await endedBy(parent, [inTree('file first.txt')])
  await again.say('What is new?')
  await again.waitForNotice('OpenCode stopped before the task had started')
  const id = idOf(again.noticeText)
  expect(git('branch', '--list', `opencode-background/${id}*`)).toBe('')
  expect(git('worktree', 'list')).not.toContain(id)
  // The prompt that was never sent comes first.
  await again.call(nextRun(id, 'go on'))
  await again.waitForNotice('wrote first.txt')
  expect(again.noticeText).toContain('1 commit, 1 file (+1 -0): first.txt.')
  expect(standing()).toEqual(before)
})

test.each([
  ['before the end of its work is kept', 'before'],
  ['after the end of its work is kept', 'after'],
] as const)('an agent that is killed %s has ended, with its files on its branch', async (_, when) => {
  const works = writes(`${when}.txt`, 'work\n')
  const parent = await stage.parent((request) => {
    // The end of this task alone: a clean-up can keep the ends of earlier ones meanwhile.
    const isFirst = request.messages.every(({ role }) => role !== 'tool')
    if (isFirst) deadly.arm(when, `${idOf(directoryOf(request))}/run-1`)
    return works(request)
  })
  const before = standing()
  const again = await endedBy(parent, [inTree('commit')], hasWritten(parent))
  await again.say('What is new?')
  await again.waitForNotice('status="completed"')
  expect(again.noticeText).toContain(`1 commit, 1 file (+1 -0): ${when}.txt. It applies cleanly`)
  const id = idOf(again.noticeText)
  expect(git('show', `opencode-background/${id}-commit:${when}.txt`)).toBe('work\n')
  expect(standing()).toEqual(before)
})

test.each([
  ['before the changes are written', 'before', 'are in your checkout, unstaged'],
  ['after the changes are written', 'after', 'Nothing was written'],
] as const)('an apply that is killed %s can be repeated', async (_, when, expected) => {
  const name = `apply-${when}.txt`
  const file = join(stage.server.directory, name)
  const parent = await stage.parent(writes(name, 'work\n'))
  const id = idOf(await launch(parent, 'apply'))
  await parent.waitForNotice(name)
  await parent.quiet()
  const { index } = standing()
  deadly.arm(when, 'apply --whitespace=nowarn /')
  const again = await endedBy(parent, applies(id))
  expect(existsSync(file)).toBe(when === 'after')
  const [answer] = await again.call(applies(id))
  expect(answer).toContain(expected)
  expect(readFileSync(file, 'utf8')).toBe('work\n')
  expect(standing().index).toBe(index)
})

test('an agent in a worktree is reported by its own process, and adopted when that is dead', async () => {
  const { reply, release } = heldReply()
  const asked = (text: string): string => (text.endsWith('mine') ? 'mine.txt' : 'left.txt')
  const parent = await stage.parent((request) => {
    const path = asked(request.messages.find(({ role }) => role === 'user')?.content ?? '')
    if (path === 'left.txt') return writesAndWorksOn(path)(request)
    return request.messages.some(({ role }) => role === 'tool') ? reply : writes(path, 'work\n')(request)
  })
  const mine = idOf(await launch(parent, 'mine'))
  await hasWritten(parent)
  await parent.quietBesidesChildren()
  const other = await stage.second()
  try {
    await other.prompt(parent.id, 'hello from the other side')
    await other.waitForIdle(parent.id)
    expect(parent.noticeText).toBe('')
    expect(git('branch', '--list', `opencode-background/${mine}*`)).not.toBe('')
    release({ text: 'told by its own' })
    await parent.waitForNotice('told by its own')
    await parent.quiet()
    const left = idOf(await launch(parent, 'left'))
    await stage.model.waitForRequest(
      (request) => request.parentSessionID === parent.id && directoryOf(request).endsWith(left),
    )
    await expect.poll(() => existsSync(join(placeOf(parent), '..', left, 'left.txt'))).toBe(true)
    await stage.server.stop({ signal: 'SIGKILL', keepHome: true })
    await other.prompt(parent.id, 'is anybody there')
    await parent.waitForNotice(`-left, 1 commit, 1 file (+1 -0): left.txt.`)
    await other.waitForIdle(parent.id)
    for (const id of [left, mine])
      expect(parent.noticeText.match(new RegExp(`id="${id}"`, 'g'))).toHaveLength(1)
    expect(git('show', `opencode-background/${left}-left:left.txt`)).toBe('work\n')
  } finally {
    await other.stop({ keepHome: true })
    await stage.restart('SIGKILL')
  }
})
