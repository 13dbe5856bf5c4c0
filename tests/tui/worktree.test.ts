import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ModelRequest, Reply } from '../harness/script.ts'
import { backgroundTask } from '../harness/stage.ts'
import type { Terminal } from '../harness/terminal.ts'
import { idOf, writes } from '../harness/trees.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal

/** A call that asks for a permission. */
const RISKY: Reply = { tools: [{ name: 'bash', args: { command: 'rm -rf build', description: 'Removes' } }] }

function child(request: ModelRequest): Reply {
  const asked = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
  if (asked.endsWith('more')) return { text: 'no more to do' }
  if (asked.endsWith('draft a letter')) return writes('letter.txt', 'work\n')(request)
  if (!asked.endsWith('ask first')) return writes('page.txt', 'work\n')(request)
  return request.messages.at(-1)?.role === 'user' ? RISKY : { text: 'it may' }
}

beforeAll(async () => {
  stage = await startTuiStage({ child, config: { permission: { bash: { 'rm *': 'ask' } } } })
  terminal = await stage.open()
})
afterAll(() => stage.close())

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

async function launch(description: string): Promise<string> {
  const [answer = ''] = await stage.root.call([backgroundTask(description, { worktree: true })])
  return idOf(answer)
}

/** Opens the dialog, and runs an action of the task with this description. */
async function act(description: string, title: string): Promise<void> {
  await terminal.press('C-x', 'j')
  await terminal.see('Background tasks: ')
  await terminal.type(description, 'Filter')
  await terminal.see((screen) => new RegExp(` {4}${description}\\b.*\\n`).test(screen))
  await terminal.press('Enter')
  await terminal.see('Copy its id')
  await terminal.type(title, 'Search')
  await terminal.see((screen) => !screen.includes('Copy its id'))
  await terminal.press('Enter')
}

test('the sidebar shows that a worktree is prepared, and then its branch and changed files', async () => {
  const { directory, home } = stage.server
  const ready = join(home, 'ready')
  writeFileSync(join(directory, '.gitattributes'), 'README.md filter=slow\n')
  git('config', 'filter.slow.clean', 'cat')
  git('config', 'filter.slow.smudge', `until [ -e ${ready} ]; do sleep 0.1; done; cat`)
  const id = await launch('write a page')
  await terminal.see(['● general write a page', 'its worktree is prepared'])
  writeFileSync(ready, '')
  await stage.root.waitForNotice('page.txt')
  await terminal.see(['✓ general write a page', `1 changed file on ${id}`])
  await stage.root.quiet()
})

test('the dialog continues an ended task in its worktree', async () => {
  await act('write', 'Continue')
  await terminal.see('Message to: write a page')
  await terminal.type('more', 'Message')
  await terminal.press('Enter')
  const { messages } = await stage.root.waitForNotice('no more to do')
  expect(JSON.stringify(messages)).toContain(String.raw`run=\"2\"`)
  await stage.root.quiet()
})

test('the dialog applies the changes of a worktree once it has shown what they are', async () => {
  const file = join(stage.server.directory, 'page.txt')
  await act('write', 'Apply its changes')
  await terminal.see(['Write its changes into your checkout?', 'page.txt'])
  expect(existsSync(file)).toBe(false)
  await terminal.press('Enter')
  await terminal.see('are in your checkout')
  expect(readFileSync(file, 'utf8')).toBe('work\n')
  await act('write', 'Apply its changes')
  await terminal.see('Your checkout has all changes of')
})

/** Opens the session of the task, and returns to its parent. */
async function visit(): Promise<void> {
  await act('draft', 'Open its session')
  const screen = await terminal.see(['Parent up', 'written in'])
  expect(screen.toLowerCase()).not.toContain('error')
  await terminal.press('Up')
  await terminal.see('Background all ended')
}

test('the dialog removes a worktree and its branch after a question, and opens the session before and after', async () => {
  // The changes of the page are applied, so that the clean-up removes its worktree.
  const id = await launch('draft a letter')
  await stage.root.waitForNotice('letter.txt')
  await stage.root.quiet()
  await visit()
  const branch = `opencode-background/${id}-draft-a-letter`
  await act('draft', 'Remove its worktree')
  await terminal.see(['Remove its worktree and branch?', branch])
  expect(git('worktree', 'list')).toContain(branch)
  await terminal.press('Enter')
  await terminal.see('The branch was removed.')
  expect(git('branch', '--list', branch)).toBe('')
  expect(git('worktree', 'list')).not.toContain(branch)
  await terminal.see((screen) => !screen.includes(`1 changed file on ${id}`))
  await visit()
})

test.each(['its own', "OpenCode's"])(
  'a permission that a task in a worktree waits for is granted by %s dialog',
  async (whose) => {
    await launch('ask first')
    await terminal.see(['Permission required', 'waits: bash rm -rf build', '? general ask first'])
    if (whose === 'its own') await act('ask', 'Allow once')
    else await terminal.press('Enter')
    await stage.root.waitForNotice('it may')
    await stage.root.quiet()
    await terminal.see((screen) => !screen.includes('? general ask first'))
  },
)
