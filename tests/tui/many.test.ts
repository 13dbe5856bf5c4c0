import { afterAll, beforeAll, expect, test } from 'vitest'
import { never } from '../harness/replies.ts'
import { rowWithTime, startTuiStage, type TuiStage } from '../harness/tui.ts'
import type { Terminal } from '../harness/terminal.ts'

let stage: TuiStage
let terminal: Terminal

beforeAll(async () => {
  stage = await startTuiStage({ child: never, options: { concurrency: { total: 2 } } })
  const names = Array.from({ length: 60 }, (_, index) => `task number ${index + 1} of a long row`)
  // The calls of one step start in any order.
  await stage.root.launchInTurn(...names.slice(0, 10))
  await stage.root.launch(...names.slice(10))
  // Open it late: the view must find the tasks from before.
  terminal = await stage.open()
})
afterAll(() => stage.close())

test('sixty tasks leave the layout intact: the sidebar shows a bounded number and counts the rest', async () => {
  const screen = await terminal.see([
    rowWithTime('●', 'general task number 1 of'),
    'Background 2 running, 58 pending',
    '○ general task number 9 of a long r…',
    '… 50 more: /tasks',
    'LSPs are disabled',
    '● 2 running',
  ])
  expect(screen.match(/[●○] general task number/g)).toHaveLength(10)
})

test('the dialog lists all sixty tasks, and finds one by its name', async () => {
  await terminal.press('C-x', 'j')
  await terminal.see('Background tasks: 2 running, 58 pending')
  await terminal.type('number 57', 'Filter')
  await terminal.see('○ task number 57 of a long row general · waits for its turn')
  await terminal.press('Escape')
  await terminal.see((screen) => !screen.includes('Background tasks: '))
})

test('the dialog fits into 80 columns', async () => {
  await terminal.resize(80, 24)
  await terminal.press('C-x', 'j')
  await terminal.see((screen) => /● task number 1 of a long row .*\d+s/.test(screen))
  await terminal.press('Escape')
  await terminal.see((screen) => !screen.includes('Background tasks: '))
})
