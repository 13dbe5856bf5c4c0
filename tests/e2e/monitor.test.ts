import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { commands: { killGraceMs: 1000 } } })
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
  await stage.pass(20_000)
  await parent.quietBesidesChildren()
  expect(parent.noticeTurns).toHaveLength(length)
  await stage.pass(15_000)
  await parent.waitForNotice('FAIL c')
  expect(parent.noticeText).toContain('Matching lines: 2, 3 so far\nERROR b\nFAIL c')
  await kill(parent, id)
})
