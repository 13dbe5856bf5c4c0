import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { never } from '../harness/replies.ts'
import type { ModelRequest, Reply } from '../harness/script.ts'
import type { Terminal } from '../harness/terminal.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal

const RISKY: Reply = { tools: [{ name: 'bash', args: { command: 'rm -rf build', description: 'Removes' } }] }

function child({ messages }: ModelRequest): Reply | Promise<Reply> {
  const asked = messages.findLast(({ role }) => role === 'user')?.content ?? ''
  if (asked.startsWith('hold')) return never()
  if (asked === 'clean up' && messages.at(-1)?.role === 'user') return RISKY
  if (asked === 'write much')
    return { text: Array.from({ length: 90 }, (_, row) => `row ${row + 1}.`).join('\n') }
  return { text: `the answer to ${asked}` }
}

beforeAll(async () => {
  stage = await startTuiStage({
    child,
    options: { concurrency: { total: 2 } },
    config: { permission: { bash: { 'rm *': 'ask' } } },
  })
  terminal = await stage.open()
})
afterAll(() => stage.close())
beforeEach(async () => {
  if (stage.root.requests.length > 0) await stage.root.quietBesidesChildren()
})

/** Opens the dialog, filters its tasks, and opens the first match. */
async function choose(filter: string): Promise<string> {
  await openDialog()
  await terminal.type(filter, 'Filter')
  await terminal.see((screen) => new RegExp(` {4}${filter}\\b.*\\n`).test(screen))
  await terminal.press('Enter')
  return terminal.see('Copy its id')
}

async function openDialog(): Promise<string> {
  await terminal.press('C-x', 'j')
  return terminal.see('Background tasks: ')
}

/** Filters the actions of a task, and runs the remaining one. */
async function act(title: string): Promise<void> {
  await terminal.type(title, 'Search')
  await terminal.see((screen) => !screen.includes('Copy its id'))
  await terminal.press('Enter')
}

test('/tasks reports a session without tasks', async () => {
  await terminal.type('/tasks')
  await terminal.see('The background tasks of this session')
  await terminal.press('Enter')
  await terminal.see('This session has no background tasks.')
})

test('/tasks groups the tasks by status, with their usage, and filters them', async () => {
  await stage.root.launch('count the tests')
  await stage.root.waitForNotice('the answer to count')
  await stage.root.quietBesidesChildren()
  await stage.root.launchInTurn('hold the door', 'hold the line', 'hold the phone')
  await terminal.see('Background 2 running, 1 pending')
  await terminal.type('/tasks')
  await terminal.see('The background tasks of this session')
  await terminal.press('Enter')
  await terminal.see([
    'Background tasks: 2 running, 1 pending · 15 tokens',
    /Running\n.*● hold the door general/,
    /Pending\n.*○ hold the phone general · waits for its turn/,
    /Completed\n.*✓ count the tests general .*s · 15 tokens/,
  ])
  await terminal.type('phone', 'Filter')
  await terminal.see([(now) => !/● hold the door general ·/.test(now), /○ hold the phone general ·/])
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('Background tasks: '))
})

test('the dialog cancels a pending task, and the notice names the user', async () => {
  await choose('phone')
  await act('Cancel it')
  await terminal.see('– general hold the phone')
  const { messages } = await stage.root.waitForNotice('hold the phone')
  expect(JSON.stringify(messages)).toContain('status=\\"cancelled\\" by=\\"user\\"')
})

test('the dialog cancels a running task', async () => {
  await choose('line')
  await act('Cancel it')
  await terminal.see('– general hold the line')
  await stage.root.waitForNotice('hold the line')
})

test('a message continues an ended task, and a notice reports the new end', async () => {
  await choose('count')
  await act('Continue')
  await terminal.see('Message to: count the tests')
  await terminal.type('and the files', 'Message')
  await terminal.press('Enter')
  const { messages } = await stage.root.waitForNotice('the answer to and the files')
  expect(JSON.stringify(messages)).toContain(String.raw`run=\"2\"`)
})

test('the dialog shows the result of a task', async () => {
  await choose('count')
  await act('Read the result')
  await terminal.see('the answer to and the files')
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('esc closes'))
})

test('a result that is still loading opens its dialog at once, so that it replaces no other later', async () => {
  await choose('count')
  const { pid } = stage.server
  process.kill(pid, 'SIGSTOP')
  try {
    await act('Read the result')
    expect(await terminal.see('esc closes')).not.toContain('the answer to and the files')
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await terminal.see('the answer to and the files')
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('esc closes'))
})

test('the arrow keys scroll a long result', async () => {
  await stage.root.launch('write much')
  await terminal.see('✓ general write much')
  await choose('much')
  await act('Read the result')
  await terminal.see((now) => now.includes('row 1.') && !now.includes('row 90.'))
  await terminal.press(...Array.from({ length: 40 }, () => 'Down'))
  await terminal.see((now) => !now.includes('row 1.') && now.includes('row 90.'))
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('esc closes'))
})

test('the dialog copies the id of a task', async () => {
  await choose('count')
  await terminal.type('Copy its', 'Search')
  await terminal.see((now) => !now.includes('Open its session'))
  await terminal.press('Enter')
  await terminal.see(/bg_[0-9a-f]{8} is copied/)
})

test('the dialog shows the output of a running command, and kills it', async () => {
  await stage.root.call([{ name: 'run_background', args: { command: 'echo it listens; sleep 600' } }])
  await terminal.see('● $ echo it listens')
  await choose('listens')
  await act('Read the output')
  await terminal.see(/esc closes[\s\S]*\n.* {2}it listens/)
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('esc closes'))
  await choose('listens')
  await act('Kill it')
  await terminal.see('– $ echo it listens')
  await stage.root.waitForNotice('it listens')
})

test('the dialog grants the permission that a task waits for, and the task continues', async () => {
  await stage.root.launch('clean up')
  await terminal.see('waits: bash rm -rf build')
  // OpenCode shows the request in the parent's session too, instead of the prompt.
  await terminal.see('Permission required')
  await terminal.see('? general clean up')
  await choose('clean')
  await act('Allow once')
  const { messages } = await stage.root.waitForNotice('clean up')
  expect(JSON.stringify(messages)).toContain('the answer to clean up')
  await terminal.see('✓ general clean up')
})

test('the dialog opens the session of a task without an error, and still opens there', async () => {
  await choose('door')
  await act('Open its session')
  const screen = await terminal.see(['Parent up', 'hold the door'])
  expect(screen.toLowerCase()).not.toContain('error')
  await openDialog()
  await terminal.press('Escape')
  await terminal.see((now) => !now.includes('Background tasks: '))
  await terminal.press('Up')
  await terminal.see('Background 1 running')
})

test('the dialog cancels all unfinished tasks at once, after a confirmation', async () => {
  await stage.root.launch('hold one', 'hold two')
  await terminal.see('Background 2 running, 1 pending')
  await openDialog()
  await terminal.type('cancel all', 'Filter')
  await terminal.see((now) => !now.includes('● hold the door general ·'))
  await terminal.press('Enter')
  await terminal.see('Cancel all 3?')
  await terminal.press('Enter')
  await terminal.see('Background all ended')
})

test('/tasks writes the timeline of the session as a page, and names its file', async () => {
  await openDialog()
  await terminal.type('Timeline', 'Filter')
  await terminal.see([/All\n.*Timeline/, (screen) => !/(?:Running|Completed|Cancelled)\n/.test(screen)])
  await terminal.press('Enter')
  await terminal.see('The timeline is written:')
  const file = join(stage.server.home, 'state', 'opencode-background', 'timelines', `${stage.root.id}.html`)
  expect(readFileSync(file, 'utf8')).toContain('count the tests')
})
