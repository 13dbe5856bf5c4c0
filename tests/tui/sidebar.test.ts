import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ModelRequest } from '../harness/script.ts'
import { heldReply, READ } from '../harness/replies.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'
import type { Terminal } from '../harness/terminal.ts'

const first = heldReply()
let stage: TuiStage
let terminal: Terminal

function child({ messages }: ModelRequest): ReturnType<Parameters<TuiStage['parent']>[0] & object> {
  const asked = messages.findLast(({ role }) => role === 'user')?.content
  if (asked === 'map the modules') return messages.at(-1)?.role === 'user' ? READ : first.reply
  if (asked === 'break') return { status: 400, text: 'the provider refused' }
  return new Promise(() => {})
}

const widthOf = (screen: string): number => Math.max(...screen.split('\n').map((line) => line.length))

beforeAll(async () => {
  stage = await startTuiStage({ child, options: { concurrency: { total: 2 } } })
  terminal = await stage.open()
})
afterAll(() => stage.close())

test('nothing is drawn where a session has no tasks', async () => {
  const screen = await terminal.see('The session')
  expect(screen).not.toContain('Background')
  expect(screen).not.toMatch(/\d (running|waiting)/)
  // The section that follows comes right behind the one before it, with one blank line between.
  const [context = ''] = screen.split('LSPs are disabled')
  expect(context.split('$0.00 spent')[1]?.split('\n')).toHaveLength(4)
})

test('a task appears with its agent, what it does and for how long, and its end is seen at once', async () => {
  await stage.root.launch('map the modules')
  await terminal.see('Background 1 running')
  await terminal.see(/● general map the modules +\d+s/)
  await terminal.see('read README.md')
  await terminal.see('● 1 running')
  // The time goes on.
  await terminal.see(/● general map the modules +[2-9]s/)
  first.release({ text: 'nine rooms' })
  await stage.root.waitForNotice('nine rooms')
  const screen = await terminal.see(/✓ general map the modules +\d+\.\ds/)
  expect(screen).toContain('Background all ended')
  expect(screen).not.toContain('1 running')
  await terminal.see('All background tasks have ended.')
})

test('what waits for its turn, what runs and what has failed have signs of their own', async () => {
  await stage.root.quietBesidesChildren()
  await stage.root.launch('break')
  await stage.root.waitForNotice('the provider refused')
  await terminal.see('✗ break (general) failed: the provider refused')
  await stage.root.quietBesidesChildren()
  await stage.root.launch('hold one', 'hold two', 'hold three')
  await terminal.see((screen) => /○ general hold three\n.*waits for its turn/.test(screen))
  const screen = await terminal.see('Background 2 running, 1 pending')
  expect(screen).toMatch(/✗ general break +\d/)
  expect(screen).toMatch(/● general hold one +\d/)
})

test.each([
  { columns: 80, hasSidebar: false },
  { columns: 130, hasSidebar: true },
  { columns: 200, hasSidebar: true },
])(
  'at $columns columns the sidebar is there or not ($hasSidebar), and the badge is',
  async ({ columns, hasSidebar }) => {
    await terminal.resize(columns, 45)
    const screen = await terminal.see(
      (now) => Math.abs(widthOf(now) - columns) < 5 && now.includes('● 2 running'),
    )
    expect(screen.includes('general hold one')).toBe(hasSidebar)
  },
)

test('a click opens the session of a task, which shows no error and no sidebar', async () => {
  await terminal.resize(150, 45)
  await terminal.see('Background 2 running')
  await terminal.click('general hold two')
  const screen = await terminal.see('Parent')
  expect(screen).toContain('hold two')
  expect(screen).not.toContain('Background 2 running')
  expect(screen.toLowerCase()).not.toContain('error')
})
