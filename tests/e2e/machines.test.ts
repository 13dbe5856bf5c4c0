import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { startMachine, type RemoteMachine } from '../harness/machines.ts'
import type { Script } from '../harness/script.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import { directoryOf, idOf, writes } from '../harness/trees.ts'

let stage: Stage
let big: RemoteMachine

/** Starts the stage twice, because the machine's clone is made of the stage's project, and its address is an option. */
beforeAll(async () => {
  stage = await startStage()
  const secret = { OPENCODE_SERVER_PASSWORD: 'sesame' }
  const config = { snapshot: false, permission: { bash: { '*': 'allow', 'curl *': 'ask' } } }
  big = await startMachine(stage.server.directory, () => ({ text: 'done' }), { env: secret, config })
  await stage.close()
  const passwordEnv = 'BIG_PASSWORD'
  const machines = {
    big: { ...big.option, passwordEnv, labels: ['fast'], slots: 1 },
    wrong: { ...big.option, passwordEnv: 'WRONG_PASSWORD' },
    unset: { ...big.option, passwordEnv: 'UNSET_PASSWORD' },
    open: big.option,
    replaced: { ...big.option, passwordEnv: '{env:BIG_PASSWORD}' },
    away: { url: 'http://127.0.0.1:9', directory: '/nowhere' },
    foreign: { ...big.option, passwordEnv, slots: 1, directory: big.server.directory },
  }
  const env = { BIG_PASSWORD: 'sesame', WRONG_PASSWORD: 'open' }
  stage = await startStage({ options: { machines }, env })
  // The clone follows the new project.
  big.git('remote', 'set-url', 'origin', stage.server.directory)
  big.git('fetch', '--quiet', 'origin')
  big.git('reset', '--quiet', '--hard', 'origin/HEAD')
})
afterAll(async () => {
  await stage.close()
  await big.close()
})

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

async function launch(
  parent: Parent,
  script: Script,
  description: string,
  args: object = {},
): Promise<string> {
  big.model.script = script
  const [answer = ''] = await parent.call([backgroundTask(description, { where: 'big', ...args })])
  return answer
}

test('an agent works on another machine, and its branch comes back', async () => {
  writeFileSync(join(stage.server.directory, 'README.md'), '# Changed\n')
  writeFileSync(join(stage.server.directory, 'draft.txt'), 'not tracked\n')
  const parent = await stage.parent()
  const answer = await launch(parent, writes('page.txt', 'one\ntwo\n'), 'write a page')
  const id = idOf(answer)
  const branch = `opencode-background/${id}-write-a-page`
  expect(answer).toContain('machine: big')
  expect(answer).toContain('note: it lacks files that git does not track: draft.txt')
  await parent.waitForNotice('written in')
  expect(parent.noticeText).toContain(
    `<result>written in ${big.server.home}/state/opencode-background/worktrees/`,
  )
  expect(parent.noticeText).toContain('machine="big"')
  expect(parent.noticeText).toContain(
    `Branch ${branch}, 1 commit, 1 file (+2 -0): page.txt. It applies cleanly`,
  )
  expect(git('show', `${branch}:page.txt`)).toBe('one\ntwo\n')
  expect(git('show', `${branch}:README.md`)).toBe('# Changed\n')
  expect(git('ls-tree', '--name-only', branch)).not.toContain('draft.txt')
  const [applied = ''] = await parent.call([{ name: 'background_apply', args: { task_id: id } }])
  expect(applied).toContain('are in your checkout, unstaged:\n- page.txt')
  expect(readFileSync(join(stage.server.directory, 'page.txt'), 'utf8')).toBe('one\ntwo\n')
  const [output = ''] = await parent.call([{ name: 'background_output', args: { task_id: id } }])
  expect(output).toContain('result:\nwritten in')
  // Nothing of it stays there.
  expect(big.git('worktree', 'list').trim().split('\n')).toHaveLength(1)
  expect(big.git('for-each-ref', 'refs/opencode-background', 'refs/heads/opencode-background')).toBe('')
})

const tool = async (parent: Parent, name: string, args: object): Promise<string> =>
  (await parent.call([{ name, args: { ...args } }])).join('')

test.each([
  [
    'huge',
    'where: must be one of big, fast, wrong, unset, open, replaced, away, foreign, any. Nothing was started.',
  ],
  ['away', 'away: it does not answer at http://127.0.0.1:9; start `opencode serve` there'],
  ['wrong', 'wrong: its server has a password, and WRONG_PASSWORD has another one'],
  ['unset', 'unset: the environment variable UNSET_PASSWORD with its password is not set'],
  ['open', 'open: its server has a password, and the option passwordEnv is not set'],
  // OpenCode has put the password itself there, which is refused.
  ['replaced', 'replaced: its server has a password, and the option passwordEnv is not set'],
])('a task for the machine %s is refused', async (where, why) => {
  const parent = await stage.parent()
  const answer = await launch(parent, () => ({ text: 'done' }), 'try it', { where })
  expect(answer).toContain(why)
  expect(answer).not.toContain('sesame')
})

test('a task on another machine needs a worktree', async () => {
  const parent = await stage.parent()
  const answer = await launch(parent, () => ({ text: 'done' }), 'try it', { worktree: false })
  expect(answer).toContain('where: an agent elsewhere always has a worktree. Omit worktree.')
})

test('a task fails on a machine whose repository is another one', async () => {
  const parent = await stage.parent()
  await launch(parent, () => ({ text: 'done' }), 'get lost', { where: 'foreign' })
  await parent.waitForNotice('has no commit in common with yours')
  expect(parent.noticeText).toContain('check the option machines.foreign.directory, or fetch there')
})

test('a cancelled agent stops there, and its tree goes', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  const id = idOf(await launch(parent, () => held, 'take long', { where: 'fast' }))
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  expect(await tool(parent, 'list_background', {})).toContain('general on big')
  expect(await tool(parent, 'background_cancel', { task_id: id })).toContain('was cancelled after')
  await expect.poll(() => big.model.requests.at(-1)?.outcome).toBe('closed')
  expect(big.git('worktree', 'list').trim().split('\n')).toHaveLength(1)
  release({ text: 'late' })
})

test('a message steers an agent there, and a later one continues it with its files', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  const writing = writes('notes.txt', 'first\n')
  const script: Script = (request) => {
    const asked = request.messages.findLast(({ role }) => role === 'user')?.content
    if (asked?.endsWith('go on')) {
      const results = request.messages.slice(
        request.messages.findLastIndex(({ role }) => role === 'user') + 1,
      )
      return results.length === 0
        ? { tools: [{ name: 'bash', args: { command: 'cat notes.txt', description: 'Read' } }] }
        : { text: `read ${results.at(-1)?.content}` }
    }
    return asked === 'hurry' ? writing({ ...request, messages: request.messages }) : held
  }
  const id = idOf(await launch(parent, script, 'take notes', { where: 'any' }))
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  const steered = await tool(parent, 'background_task', { task_id: id, prompt: 'hurry' })
  expect(steered).toContain('It reads the prompt at its next step.')
  release({ text: 'not yet' })
  await parent.waitForNotice('written in')
  await tool(parent, 'background_task', { task_id: id, prompt: 'go on' })
  await parent.waitForNotice('read first')
  expect(git('show', `opencode-background/${id}-take-notes:notes.txt`)).toBe('first\n')
  const there = big.model.requests.slice(before)
  expect(new Set(there.map(({ sessionID }) => sessionID)).size).toBe(1)
  expect(await tool(parent, 'background_task', { task_id: id, prompt: 'go on', where: 'away' })).toContain(
    'stays where it is: omit where',
  )
})

test('a permission that an agent needs there is reported, and granted there', async () => {
  const parent = await stage.parent()
  const script: Script = (request) =>
    request.messages.some(({ role }) => role === 'tool')
      ? { text: 'asked' }
      : { tools: [{ name: 'bash', args: { command: 'curl --version', description: 'Look' } }] }
  const before = big.model.requests.length
  const id = idOf(await launch(parent, script, 'ask for it'))
  await expect
    .poll(() => tool(parent, 'background_output', { task_id: id }))
    .toContain('status: waiting (for a permission: bash curl --version)')
  const place = big.server.project(directoryOf(big.model.requests[before] ?? big.model.requests[0]!))
  const [request] = (await place.get('/permission')) as { id: string }[]
  const query = `directory=${encodeURIComponent(place.directory)}`
  await fetch(`${big.server.url}/permission/${request?.id}/reply?${query}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Basic ${Buffer.from('opencode:sesame').toString('base64')}`,
    },
    body: JSON.stringify({ reply: 'once' }),
  })
  await parent.waitForNotice('asked')
})

test('a machine takes as many agents as it has slots', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  await launch(parent, () => held, 'be first')
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  const second = await launch(parent, () => held, 'be second')
  expect(second).toContain('status: pending (number 1 in the queue)')
  release({ text: 'done' })
  for (const name of ['be first', 'be second']) await parent.waitForNotice(name)
})

test('an agent there works on while its launcher is killed, and is told once', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  const script: Script = async (request) => {
    await held
    return writes('alone.txt', 'alone\n')(request)
  }
  const id = idOf(await launch(parent, script, 'work alone'))
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  await stage.restart('SIGKILL')
  const again = stage.parentAt(parent.id)
  expect(await tool(again, 'background_output', { task_id: id })).toContain('status: running')
  release({ text: '' })
  await again.waitForNotice('written in')
  expect(git('show', `opencode-background/${id}-work-alone:alone.txt`)).toBe('alone\n')
  const prompts = big.model.requests
    .slice(before)
    .map(({ messages }) => messages.filter(({ role }) => role === 'user'))
  expect(prompts.every((asked) => asked.length === 1)).toBe(true)
  await again.quietBesidesChildren()
  expect(again.noticeTurns.filter(({ messages }) => messages.at(-1)?.content.includes(id))).toHaveLength(1)
})

test('a machine that is killed ends no task: its task is cut off once the machine is back', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  const id = idOf(await launch(parent, () => held, 'lose it'))
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  const restart = await big.stop('SIGKILL')
  await expect
    .poll(() => tool(parent, 'background_output', { task_id: id }), { interval: 1000 })
    .toContain('status: running (no contact with big since ')
  await stage.pass(600_000)
  expect(await tool(parent, 'list_background', {})).toContain('no contact with big since')
  await restart()
  await stage.passUntil(parent.waitForNotice('OpenCode stopped before the task had ended'))
  release({ text: 'late' })
})

test('a cancel without contact is done when the machine is back', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  const before = big.model.requests.length
  const id = idOf(await launch(parent, () => held, 'stop it'))
  await expect.poll(() => big.model.requests.length).toBe(before + 1)
  const restart = await big.stop('SIGKILL')
  expect(await tool(parent, 'background_cancel', { task_id: id })).toContain(
    'could not be reached: there is no contact with its machine. It is stopped as soon as the machine answers.',
  )
  expect(await tool(parent, 'background_output', { task_id: id })).toContain('status: running')
  await restart()
  const status = async (): Promise<string> => tool(parent, 'background_output', { task_id: id })
  await expect.poll(status, { interval: 1000 }).toContain('status: cancelled')
  release({ text: 'late' })
})
