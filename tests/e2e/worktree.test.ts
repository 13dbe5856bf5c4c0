import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply, never } from '../harness/replies.ts'
import type { Project } from '../harness/server.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'
import { directoryOf, idOf, launchInTree as launch, placeOf, writes } from '../harness/trees.ts'

let stage: Stage

beforeAll(async () => {
  const permission = { external_directory: 'allow', bash: { '*': 'allow', 'curl *': 'ask' } }
  // No status poll: the events of the worktrees alone show what happens there.
  const options = { pollMs: 600_000 }
  stage = await startStage({ options, config: { permission } })
})
afterAll(() => stage.close())

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

/** Answers a permission request in the directory in which it was made. */
async function reply({ directory }: Project, requestID: string | undefined, answer: object): Promise<void> {
  const query = `directory=${encodeURIComponent(directory)}`
  await fetch(`${stage.server.url}/permission/${requestID}/reply?${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(answer),
  })
}

test('an agent in a worktree leaves a branch, and the checkout of its parent as it was', async () => {
  writeFileSync(join(stage.server.directory, 'draft.txt'), 'not committed\n')
  const before = standing()
  const parent = await stage.parent(writes('page.txt', 'one\ntwo\n'))
  const answer = await launch(parent, 'write a page')
  const id = idOf(answer)
  const branch = `opencode-background/${id}-write-a-page`
  expect(answer).toMatch(
    new RegExp(`branch: ${branch}, from HEAD [0-9a-f]{7} and your 0 changed, 1 new files`),
  )
  await parent.waitForNotice('written in')
  const directory = placeOf(parent)
  expect(directory).toMatch(
    new RegExp(`^${stage.server.home}/state/opencode-background/worktrees/project-[0-9a-f]{8}/${id}$`),
  )
  expect(parent.noticeText).toContain(`<result>written in ${directory}</result>`)
  expect(parent.noticeText).toContain(
    `Branch ${branch}, 1 commit, 1 file (+2 -0): page.txt. It applies cleanly to your checkout now.`,
  )
  expect(standing()).toEqual(before)
  expect(git('show', `${branch}:page.txt`)).toBe('one\ntwo\n')
  expect(git('show', `${branch}:draft.txt`)).toBe('not committed\n')
  expect(git('log', '-1', '--format=%s%n%(trailers:key=Opencode-Background-Task,valueonly)', branch)).toBe(
    `write a page\n${id}\n\n`,
  )
  const [output = ''] = await parent.call([{ name: 'background_output', args: { task_id: id } }])
  expect(output).toContain(`worktree: ${directory}\n`)
  expect(output).toContain('1 file (+2 -0): page.txt. It applies cleanly')
  const [list = ''] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain(`| write a page (${branch}: 1 changed files) |`)
})

test('of two writers of a file the first is applied, and the second conflicts and writes nothing', async () => {
  const parent = await stage.parent((request) => {
    const asked = request.messages.find(({ role }) => role === 'user')?.content ?? ''
    return writes('shared.txt', asked.endsWith('first') ? 'by the first\n' : 'by the second\n')(request)
  })
  const calls = ['first', 'second'].map((name) => backgroundTask(name, { worktree: true }))
  const [first = '', second = ''] = (await parent.call(calls)).map(idOf)
  for (const name of ['first', 'second']) await parent.waitForNotice(`-${name}, 1 commit`)
  // The one that ended last says so.
  expect(parent.noticeText).toMatch(new RegExp(`The same files were changed by (${first}|${second})\\.`))
  const apply = async (task_id: string, check: boolean): Promise<string> =>
    (await parent.call([{ name: 'background_apply', args: { task_id, check } }])).join('')
  expect(await apply(second, true)).toContain('apply cleanly')
  const { index } = standing()
  expect(await apply(first, false)).toContain('are in your checkout, unstaged:\n- shared.txt')
  expect(await apply(first, false)).toContain('Nothing was written.')
  for (const check of [true, false])
    expect(await apply(second, check)).toContain('Nothing was written. Paths in conflict:\n- shared.txt')
  expect(readFileSync(join(stage.server.directory, 'shared.txt'), 'utf8')).toBe('by the first\n')
  expect(standing().index).toBe(index)
})

test('a cancelled agent stops in its worktree, which goes unless it was changed', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent(() => held)
  const id = idOf(await launch(parent, 'take long'))
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const directory = placeOf(parent)
  expect(existsSync(directory)).toBe(true)
  const [answer] = await parent.call([{ name: 'background_cancel', args: { task_id: id } }])
  expect(answer).toContain('cancelled')
  await expect.poll(() => parent.childRequests.map(({ outcome }) => outcome)).toEqual(['closed'])
  expect(existsSync(directory)).toBe(false)
  expect(git('branch', '--list', `opencode-background/${id}*`)).toBe('')
  release({ text: 'late' })
})

test('a permission that an agent in a worktree needs is reported, and granted there', async () => {
  const parent = await stage.parent((request) =>
    request.messages.some(({ role }) => role === 'tool')
      ? { text: 'asked' }
      : { tools: [{ name: 'bash', args: { command: 'curl --version', description: 'Look' } }] },
  )
  const id = idOf(await launch(parent, 'ask for it'))
  const status = async (): Promise<string> =>
    (await parent.call([{ name: 'background_output', args: { task_id: id } }])).join('')
  await expect.poll(status).toContain('status: waiting')
  const place = stage.server.project(placeOf(parent))
  const [request] = (await place.get('/permission')) as { id: string }[]
  await reply(place, request?.id, { reply: 'once' })
  await parent.waitForNotice('asked')
})

test('a permission request of a cancelled agent in a worktree is rejected', async () => {
  const parent = await stage.parent(() => ({
    tools: [{ name: 'bash', args: { command: 'curl --version', description: 'Look' } }],
  }))
  const id = idOf(await launch(parent, 'ask in vain'))
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const place = stage.server.project(placeOf(parent))
  await expect.poll(() => place.get('/permission')).toHaveLength(1)
  await parent.call([{ name: 'background_cancel', args: { task_id: id } }])
  await expect.poll(() => place.get('/permission')).toEqual([])
})

test("an agent in a worktree cannot edit its parent's checkout", async () => {
  const file = join(stage.server.directory, 'README.md')
  const before = readFileSync(file, 'utf8')
  const parent = await stage.parent(({ messages }) => {
    const result = messages.find(({ role }) => role === 'tool')
    if (result) return { text: `answered: ${result.content}` }
    return { tools: [{ name: 'write', args: { filePath: file, content: 'mine' } }] }
  })
  await launch(parent, 'reach out')
  await parent.waitForNotice('answered: ')
  expect(parent.noticeText).toContain('prevents you from using this specific tool call')
  expect(readFileSync(file, 'utf8')).toBe(before)
})

test("a command that names its parent's checkout needs the permission that the rules demand", async () => {
  const project = stage.project({ config: { permission: { external_directory: 'ask' } } })
  const copy = join(project.directory, 'copy.md')
  const parent = await stage.parent(
    ({ messages }) => {
      const result = messages.find(({ role }) => role === 'tool')
      if (result) return { text: `answered: ${result.content}` }
      return { tools: [{ name: 'bash', args: { command: `cp README.md ${copy}`, description: 'Copy' } }] }
    },
    {},
    project,
  )
  await launch(parent, 'reach out')
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const place = stage.server.project(placeOf(parent))
  await expect.poll(() => place.get('/permission')).toHaveLength(1)
  const [request] = (await place.get('/permission')) as {
    id: string
    permission: string
    patterns: string[]
  }[]
  expect(request).toMatchObject({
    permission: 'external_directory',
    patterns: [join(project.directory, '*')],
  })
  await reply(place, request?.id, { reply: 'reject', message: 'Stay in your worktree.' })
  await parent.waitForNotice('Stay in your worktree.')
  expect(existsSync(copy)).toBe(false)
})

test('a message to an agent at work in its worktree is read at its next step', async () => {
  const { reply: first, release } = heldReply()
  const parent = await stage.parent(({ messages }) => {
    if (messages.some(({ content }) => content === 'and the tests')) return { text: 'with the tests' }
    return messages.some(({ role }) => role === 'tool') ? { text: 'without them' } : first
  })
  const id = idOf(await launch(parent, 'write the code'))
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const [answer] = await parent.call([
    { name: 'background_task', args: { task_id: id, prompt: 'and the tests' } },
  ])
  expect(answer).toContain(id)
  release({ tools: [{ name: 'bash', args: { command: 'touch code.txt', description: 'Write' } }] })
  await parent.waitForNotice('with the tests')
  expect(parent.noticeText).toContain('code.txt. It applies cleanly')
  expect(parent.noticeText).not.toContain('without them')
})

test('an agent whose context was summarised in its worktree is reported with its last answer', async () => {
  let directory = ''
  let requests = 0
  const parent = await stage.parent((request) => {
    requests += 1
    if (requests === 1) {
      directory = directoryOf(request)
      return { status: 400, text: 'context length exceeded' }
    }
    if (requests === 2) return { text: 'the summary' }
    if (request.messages.at(-1)?.role === 'tool') return { text: 'went on' }
    const filePath = join(directory, 'after.txt')
    return { tools: [{ name: 'write', args: { filePath, content: 'work' } }] }
  })
  await launch(parent, 'fill the context')
  await parent.waitForNotice('<result>went on</result>')
  expect(parent.noticeText).toContain('1 file (+1 -0): after.txt.')
})

test('an agent whose instance of OpenCode ends has its files committed, and is told as interrupted', async () => {
  const parent = await stage.parent((request) =>
    request.messages.some(({ role }) => role === 'tool') ? never() : writes('cut.txt', 'work')(request),
  )
  await launch(parent, 'be cut off')
  await stage.model.waitForRequest(
    (request) => request.parentSessionID === parent.id && request.messages.at(-1)?.role === 'tool',
  )
  const directory = encodeURIComponent(placeOf(parent))
  await fetch(`${stage.server.url}/instance/dispose?directory=${directory}`, { method: 'POST' })
  await stage.passUntil(parent.waitForNotice('cut.txt. It applies cleanly'))
  expect(parent.noticeText).toContain('status="failed"')
})

test('an agent that left its worktree unchanged has it again in its next run', async () => {
  const parent = await stage.parent((request) => {
    const asked = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
    if (!asked.includes('write it') || request.messages.at(-1)?.role === 'tool') return { text: 'done' }
    const filePath = join(directoryOf(request), 'late.txt')
    return { tools: [{ name: 'write', args: { filePath, content: 'late' } }] }
  })
  const id = idOf(await launch(parent, 'look around'))
  await parent.waitForNotice('It changed no file; its worktree was removed.')
  expect(existsSync(placeOf(parent))).toBe(false)
  const [output] = await parent.call([{ name: 'background_output', args: { task_id: id } }])
  expect(output).toContain('done')
  await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'write it' } }])
  await parent.waitForNotice('1 commit, 1 file (+1 -0): late.txt.')
  expect(git('show', `opencode-background/${id}-look-around:late.txt`)).toBe('late')
})

test('the next run of an agent continues on its branch, in the directory that it had', async () => {
  const parent = await stage.parent((request) => {
    const asked = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
    const name = /file (\S+)/.exec(asked)?.[1] ?? ''
    if (request.messages.at(-1)?.role === 'tool') return { text: `wrote ${name}` }
    const filePath = join(directoryOf(request), name)
    return { tools: [{ name: 'write', args: { filePath, content: name } }] }
  })
  const id = idOf(await launch(parent, 'file one.txt'))
  await parent.waitForNotice('wrote one.txt')
  await parent.call([
    { name: 'background_task', args: { task_id: id, prompt: 'file two.txt', description: 'Again' } },
  ])
  await parent.waitForNotice('wrote two.txt')
  expect(parent.noticeText).toContain('2 commits, 2 files (+2 -0): one.txt, two.txt.')
  expect(new Set(parent.childRequests.map(directoryOf))).toHaveLength(1)
  const [answer] = await parent.call([
    { name: 'background_task', args: { task_id: id, prompt: 'x', worktree: false } },
  ])
  expect(answer).toContain(`${id} works in its own worktree, and cannot be moved: omit worktree.`)
})

test('a worktree is refused where there is no repository, and nothing is started', async () => {
  const directory = join(stage.server.home, 'plain')
  mkdirSync(directory)
  const parent = await stage.parent(undefined, {}, stage.server.project(directory))
  const answer = await launch(parent, 'try')
  expect(answer).toContain(`worktree: ${directory} is not in a git repository`)
  expect(parent.childRequests).toEqual([])
})

test('of twenty launches at once ten get a tree and a branch, ten are refused, and no lock is left', async () => {
  const project = stage.project({ options: { pollMs: 600_000, worktree: { max: 10 } } })
  const parent = await stage.parent(writes('page.txt', 'work\n'), {}, project)
  const calls = Array.from({ length: 20 }, (_, index) => backgroundTask(`page ${index}`, { worktree: true }))
  const answers = await parent.call(calls)
  const launched = answers.filter((answer) => answer.includes('branch: ')).map(idOf)
  expect(launched).toHaveLength(10)
  expect(answers.filter((answer) => answer.includes('its limit (worktree.max) is 10'))).toHaveLength(10)
  for (const id of launched) await parent.waitForNotice(`id="${id}"`)
  await parent.quiet()
  const at = (...args: readonly string[]): string[] =>
    execFileSync('git', ['-C', project.directory, ...args])
      .toString()
      .trim()
      .split('\n')
  expect(at('worktree', 'list')).toHaveLength(1 + 10)
  const branches = at('branch', '--list', '--format=%(refname:short)', 'opencode-background/*')
  expect(branches.map(idOf).toSorted()).toEqual(launched.toSorted())
  for (const branch of branches) expect(at('show', `${branch}:page.txt`)).toEqual(['work'])
  const files = readdirSync(join(project.directory, '.git'), { recursive: true }).map(String)
  expect(files.filter((path) => path.endsWith('.lock'))).toEqual([])
})
