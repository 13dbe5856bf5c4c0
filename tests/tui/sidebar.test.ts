import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ModelRequest } from '../harness/script.ts'
import { heldReply, READ } from '../harness/replies.ts'
import { rowWithTime, startTuiStage, type TuiStage } from '../harness/tui.ts'
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

test('the view draws nothing in a session without tasks', async () => {
  const screen = await terminal.see(['The session', '$0.00 spent', 'LSPs are disabled'])
  expect(screen).not.toContain('Background')
  expect(screen).not.toMatch(/\d (running|waiting)/)
  // Only one blank line separates the neighbouring sections.
  const [context = ''] = screen.split('LSPs are disabled')
  expect(context.split('$0.00 spent')[1]?.split('\n')).toHaveLength(4)
})

test('the sidebar shows a task with agent, activity, used budget and time, and its end at once', async () => {
  const args = { subagent_type: 'general', description: 'map the modules', prompt: 'map the modules' }
  await stage.root.call([{ name: 'background_task', args: { ...args, budget: { toolCalls: 4 } } }])
  await terminal.see('Background 1 running')
  await terminal.see(rowWithTime('●', 'general map the modules'))
  await terminal.see('25 % of 4 tool calls · read')
  await terminal.see('● 1 running')
  // The time advances.
  await terminal.see(/● general map the modules +((?![01]s)\d+s|\d+m \d+s)$/m)
  // A toast is gone after some seconds.
  const toast = terminal.see('All background tasks have ended.')
  first.release({ text: 'nine rooms' })
  await stage.root.waitForNotice('nine rooms')
  await terminal.see([
    rowWithTime('✓', 'general map the modules'),
    'Background all ended',
    (now) => !now.includes('1 running'),
  ])
  await toast
})

test('the sidebar marks pending, running and failed tasks with different signs', async () => {
  await stage.root.quietBesidesChildren()
  await Promise.all([
    terminal.see('✗ break (general) failed: the provider refused'),
    stage.root.launch('break'),
  ])
  await stage.root.quietBesidesChildren()
  await stage.root.launchInTurn('hold one', 'hold two', 'hold three')
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
  'at $columns columns the sidebar is shown: $hasSidebar, and the badge is always shown',
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
