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
  const screen = await terminal.see(['The session', '$0.00 spent', 'LSPs are disabled'])
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
  await terminal.see([
    /✓ general map the modules +\d+\.\ds/,
    'Background all ended',
    (now) => !now.includes('1 running'),
  ])
  await terminal.see('All background tasks have ended.')
})

test('what waits for its turn, what runs and what has failed have signs of their own', async () => {
  await stage.root.quietBesidesChildren()
  await stage.root.launch('break')
  await terminal.see('✗ break (general) failed: the provider refused')
  await stage.root.quietBesidesChildren()
  await stage.root.launch('hold one', 'hold two', 'hold three')
  await terminal.see([
    /○ general hold three\n.*waits for its turn/,
    'Background 2 running, 1 pending',
    /✗ general break +\d/,
    /● general hold one +\d/,
  ])
})

test.each([
  { columns: 80, hasSidebar: false },
  { columns: 130, hasSidebar: true },
  { columns: 200, hasSidebar: true },
])(
  'at $columns columns the sidebar is there or not ($hasSidebar), and the badge is',
  async ({ columns, hasSidebar }) => {
    await terminal.resize(columns, 45)
    await terminal.see([
      (now) => Math.abs(widthOf(now) - columns) < 5,
      '● 2 running',
      (now) => now.includes('general hold one') === hasSidebar,
    ])
  },
)

test('a click opens the session of a task, which shows no error and no sidebar', async () => {
  await terminal.resize(150, 45)
  await terminal.see('Background 2 running')
  await terminal.click('general hold two')
  const screen = await terminal.see(['Parent', 'hold two', (now) => !now.includes('Background 2 running')])
  expect(screen.toLowerCase()).not.toContain('error')
})
