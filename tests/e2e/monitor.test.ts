import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isRunning } from '../harness/processes.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

const GAP_MS = 600_000

let stage: Stage
/** Varies the calls, because OpenCode asks about the third of the same in a row. */
let checks = 0

beforeAll(async () => {
  // A long gap, so that a slow machine does not pass it.
  stage = await startStage({ options: { commands: { killGraceMs: 1000 }, notify: { monitorGapMs: GAP_MS } } })
})
afterAll(() => stage.close())

/** Starts a monitor of a file of the project. */
async function watch(parent: Parent, file: string, more: object = {}): Promise<string> {
  writeFileSync(join(stage.server.directory, file), '')
  const args = {
    command: `tail -n +1 -f ${file}`,
    timeout: 0,
    notify_on: ['FAIL|ERROR'],
    notify_every: true,
    ...more,
  }
  const [answer = ''] = await parent.call([{ name: 'run_background', args }])
  const id = /bg_[0-9a-f]{8}/.exec(answer)?.[0]
  if (id === undefined) throw new Error(answer)
  return id
}

function write(file: string, ...lines: string[]): void {
  appendFileSync(join(stage.server.directory, file), lines.map((line) => `${line}\n`).join(''))
}

async function check(parent: Parent, id: string): Promise<string> {
  const [answer = ''] = await parent.call([
    { name: 'check_background', args: { task_id: id, tail_lines: ++checks } },
  ])
  return answer
}

/** Returns how often the parent's model has read a line in notices, in its newest request. */
function timesRead(parent: Parent, line: string): number {
  const messages = parent.requests.at(-1)?.messages ?? []
  const notices = messages.filter(
    ({ role, content }) => role === 'user' && content.includes('<background_task '),
  )
  return notices.reduce((sum, { content }) => sum + content.split(line).length - 1, 0)
}

async function kill(parent: Parent, id: string): Promise<void> {
  await parent.call([{ name: 'kill_background', args: { task_id: id } }])
}

test('the first matching line is reported at once, and those of the next gap in one notice', async () => {
  const parent = await stage.parent()
  const id = await watch(parent, 'log')
  write('log', 'all well', 'FAIL a.test.ts')
  await parent.waitForNotice('FAIL a.test.ts')
  expect(parent.noticeText).toContain('Matching lines: 1\nFAIL a.test.ts')
  expect(parent.noticeText).not.toContain('all well')
  await parent.quietBesidesChildren()
  const { length } = parent.noticeTurns
  write('log', 'ERROR b', 'fine', 'FAIL c')
  await stage.settle()
  await stage.pass(GAP_MS - 200_000)
  await parent.quietBesidesChildren()
  expect(parent.noticeTurns).toHaveLength(length)
  await stage.pass(200_000)
  await parent.waitForNotice('FAIL c')
  expect(parent.noticeText).toContain('Matching lines: 2, 3 so far\nERROR b\nFAIL c')
  await kill(parent, id)
})

test('after a kill of OpenCode the lines since the last notice are reported once, and no line again', async () => {
  const parent = await stage.parent()
  const id = await watch(parent, 'killed')
  write('killed', 'FAIL 1')
  await parent.waitForNotice('FAIL 1')
  await parent.quietBesidesChildren()
  // Found and counted within the gap, and lost with the process.
  write('killed', 'FAIL 2')
  await expect.poll(() => check(parent, id)).toContain('| **Matching lines** | 2, 1 notice of them |')
  await stage.restart('SIGKILL')
  write('killed', 'FAIL 3')
  await parent.say('where were we')
  await parent.waitForNotice('FAIL 3')
  await parent.quietBesidesChildren()
  await parent.say('and now')
  for (const line of ['FAIL 1', 'FAIL 2', 'FAIL 3']) expect(timesRead(parent, line)).toBe(1)
  await kill(parent, id)
})

test('a monitor that ends while no OpenCode runs has its last matches in the notice of the end', async () => {
  const parent = await stage.parent()
  const command = 'echo FAIL 1; until [ -e ended ]; do sleep 0.1; done; echo FAIL 2'
  const id = await watch(parent, 'unused', { command })
  await parent.waitForNotice('FAIL 1')
  await parent.quietBesidesChildren()
  await stage.restart('SIGKILL')
  write('ended')
  await expect.poll(() => isRunning('echo FAIL 1; until')).toBe(false)
  await parent.say('where were we')
  await parent.quiet()
  expect(parent.noticeText).toContain('[Matching lines that no notice has: 1 of 2]\nFAIL 2')
  expect(parent.noticeText.match(new RegExp(`id="${id}"[^>]*status="completed"`, 'g'))).toHaveLength(1)
})

test('the end reports the matches that no notice had, and that no line matched', async () => {
  const parent = await stage.parent()
  await watch(parent, 'unused', { command: 'echo fine; echo FAIL now >&2' })
  await parent.waitForNotice('status="completed"')
  expect(parent.noticeText).toContain('[Matching lines that no notice has: 1 of 1]\nFAIL now')
  await watch(parent, 'unused', { command: 'echo all fine' })
  await parent.waitForNotice('[No line of its output matches its notify_on patterns.]')
})

test('an interrupted parent gets no notice of a match, and then one with all at its next message', async () => {
  const parent = await stage.parent()
  const id = await watch(parent, 'silent')
  await parent.quietBesidesChildren()
  await stage.server.client.session.abort({ path: { id: parent.id }, throwOnError: true })
  await stage.settle()
  const asked = parent.requests.length
  write('silent', 'FAIL 1')
  await stage.pass(GAP_MS)
  write('silent', 'FAIL 2')
  await stage.pass(GAP_MS)
  expect(parent.requests).toHaveLength(asked)
  await parent.say('go on')
  expect(timesRead(parent, 'FAIL 1')).toBe(1)
  expect(timesRead(parent, 'FAIL 2')).toBe(1)
  await kill(parent, id)
})

test.each([
  ['FAIL (1', 'missing closing )'],
  ['[ERROR]', 'would match any one of these letters'],
])('a pattern that is none is refused before anything is asked or started: %s', async (entry, why) => {
  const parent = await stage.parent()
  const args = { command: 'sleep 1', notify_on: [entry], notify_every: true }
  const [answer = ''] = await parent.call([{ name: 'run_background', args }])
  expect(answer).toContain(why)
  expect(answer).toContain('as "FAIL|ERROR"')
})

test('a monitor is listed as one, and check_background shows its patterns and its last matches', async () => {
  const parent = await stage.parent()
  const id = await watch(parent, 'shown')
  write('shown', 'FAIL seen')
  await parent.waitForNotice('FAIL seen')
  await parent.quietBesidesChildren()
  const [list = ''] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('| monitor, 1 notice |')
  const shown = await check(parent, id)
  expect(shown).toContain('| **Patterns** | `FAIL\\|ERROR` |')
  expect(shown).toContain('Last matching lines**:\n```\nFAIL seen\n```')
  await kill(parent, id)
})
