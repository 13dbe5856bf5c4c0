import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
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

/** `opencode` alone, with a task at work. */
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

test('N8: a terminal UI without the view says how to get it', async () => {
  const { terminal } = await open(false)
  await terminal.see(['The terminal view of background tasks', 'into tui.json as well'])
})

test('N8: a terminal UI with the view says nothing of it, nor that the plugin is loaded twice', async () => {
  const { terminal, log } = await open(true)
  await terminal.see('Background 1 running')
  // Longer than the server part waits for the view.
  await sleep(12_000)
  expect(await terminal.screen()).not.toContain('is not loaded')
  expect(log()).not.toContain('loaded twice')
})
