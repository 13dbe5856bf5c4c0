import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openAlone } from '../harness/alone.ts'
import { startModel } from '../harness/model.ts'
import { homeWithPlugin } from '../harness/packed.ts'
import { never } from '../harness/replies.ts'
import { backgroundTask, obey } from '../harness/stage.ts'
import type { Terminal } from '../harness/terminal.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** Starts `opencode` alone, with a task at work. */
async function open(hasView: boolean): Promise<{ terminal: Terminal; log: () => string }> {
  const model = await startModel((request) =>
    request.parentSessionID === undefined ? obey(request) : never(),
  )
  const home = await homeWithPlugin()
  if (!hasView) rmSync(join(home.directory, '.opencode', 'tui.json'))
  const { terminal, close } = await openAlone(home, model)
  closing.push(close)
  await terminal.see('ctrl+p')
  await terminal.type(`CALL ${JSON.stringify([backgroundTask('look around')])} END`)
  await terminal.press('Enter')
  await terminal.see('Noted.')
  const log = (): string =>
    readdirSync(home.logs)
      .map((file) => readFileSync(join(home.logs, file), 'utf8'))
      .join('')
  return { terminal, log }
}

test('N8: a terminal UI without the view shows how to get it, and one with the view does not', async () => {
  const withView = await open(true)
  await withView.terminal.see('Background 1 running')
  const without = await open(false)
  await without.terminal.see(['The terminal view of background tasks', 'into tui.json as well'])
  // The hint of the second UI shows that the waiting time of the first, whose task is older, has passed too.
  expect(await withView.terminal.screen()).not.toContain('is not loaded')
  expect(withView.log()).not.toContain('loaded twice')
})
