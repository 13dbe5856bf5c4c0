import { afterAll, beforeAll, expect, test } from 'vitest'
import { never, READ } from '../harness/replies.ts'
import { backgroundTask } from '../harness/stage.ts'
import type { Terminal } from '../harness/terminal.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal
let followerID = ''

beforeAll(async () => {
  stage = await startTuiStage({
    child: ({ messages }) => (messages.at(-1)?.role === 'user' ? READ : never()),
    options: { concurrency: { total: 1 } },
  })
  terminal = await stage.open()
})
afterAll(() => stage.close())

const idIn = (answer = ''): string => /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer

test('the sidebar and /tasks show the use of a budget, the task for which another waits, and a monitor', async () => {
  await stage.root.call([backgroundTask('count', { budget: { toolCalls: 4 } })])
  const [answer] = await stage.root.call([backgroundTask('look up')])
  const id = idIn(answer)
  const monitor = {
    command: 'echo FAIL one; sleep 600',
    label: 'watch the log',
    timeout: 0,
    notify_on: ['FAIL'],
    notify_every: true,
  }
  const [waiting] = await stage.root.call([
    backgroundTask('add up', { after: [id] }),
    { name: 'run_background', args: monitor },
  ])
  followerID = idIn(waiting)
  await terminal.see([
    'Background 2 running, 2 pending',
    /● general count .*\n.* 25 % of 4 tool calls · read/,
    /○ general look up.*\n.* waits for its turn/,
    new RegExp(`○ general add up.*\\n.* waits for ${id}`),
    /● \$ watch the log .*\n.* monitor, 1 notice/,
  ])
  await terminal.press('C-x', 'j')
  await terminal.see([
    'Background tasks: 2 running, 2 pending',
    '● count general · 25 % of 4 tool calls · read',
    '● watch the log monitor, 1 notice',
    `○ add up general · waits for ${id}`,
  ])
})

// Seen to fail where all are cancelled in the order of their launches: the last one ended as failed.
test('/tasks cancels all tasks, also one that waits for another which ends at once', async () => {
  await terminal.type('cancel all', 'Filter')
  await terminal.see((now) => !now.includes('● count general ·'))
  await terminal.press('Enter')
  await terminal.see('Cancel all 4?')
  await terminal.press('Enter')
  await terminal.see('Background all ended')
  const { messages } = await stage.root.waitForNotice(`id="${followerID}"`)
  const read = messages.map(({ content }) => content).join('\n')
  expect(read).toMatch(new RegExp(`id="${followerID}"[^>]* status="cancelled" by="user"`))
})
