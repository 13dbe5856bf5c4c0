/** What people ran into with background commands, by the rows of the reports, on the real OpenCode. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ToolCall } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { commands: { killGraceMs: 1000 } } })
})
afterAll(() => stage.close())

const call = (name: string, args: object): ToolCall => ({ name, args: { ...args } })

async function start(parent: Parent, command: string, more: object = {}): Promise<string> {
  const [answer = ''] = await parent.call([call('run_background', { command, ...more })])
  return /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
}

async function check(parent: Parent, taskId: string): Promise<string> {
  const [answer = ''] = await parent.call([call('check_background', { taskId })])
  return answer
}

test('Exit codes: one above 128 that a program returned itself is told as a code, not as a signal', async () => {
  const parent = await stage.parent()
  const id = await start(parent, 'exit 143')
  await parent.waitForNotice('exit_code="143"')
  expect(parent.noticeText).toContain('<error>exit code 143, as after SIGTERM</error>')
  expect(parent.noticeText).not.toContain('signal=')
  expect(await check(parent, id)).toContain('| **Exit Code** | 143, as after SIGTERM |')
  await start(parent, 'kill -TERM $$; sleep 60')
  await parent.waitForNotice('signal="SIGTERM"')
  expect(parent.noticeText).toContain('<error>ended by SIGTERM</error>')
})
