import { afterAll, test } from 'vitest'
import { startModel } from '../harness/model.ts'
import { homeWithPlugin } from '../harness/packed.ts'
import { heldReply } from '../harness/replies.ts'
import { configuration } from '../harness/server.ts'
import { backgroundTask, obey } from '../harness/stage.ts'
import { openTerminal, type Terminal } from '../harness/terminal.ts'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

let close = (): Promise<void> => Promise.resolve()
afterAll(() => close())

test('`opencode` alone, where the server is a part of the same process, shows the same; the key is an option', async () => {
  const answer = heldReply()
  const model = await startModel((request) =>
    request.parentSessionID === undefined ? obey(request) : answer.reply,
  )
  const home = await homeWithPlugin({}, { key: 'f6' })
  writeFileSync(join(home.config, 'opencode.json'), JSON.stringify(configuration({ model })))
  const terminal: Terminal = await openTerminal({ home: home.path })
  close = async () => {
    await terminal.close()
    await model.close()
    rmSync(home.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
  await terminal.see('ctrl+p')
  await terminal.press('F6')
  await terminal.see('Open a session first')
  await terminal.type(`CALL ${JSON.stringify([backgroundTask('look around')])} END`)
  await terminal.press('Enter')
  await terminal.see('Background 1 running')
  await terminal.see(/● general look around +\d+s/)
  await terminal.press('F6')
  await terminal.see('Background tasks: 1 running')
  answer.release({ text: 'nothing there' })
  await terminal.see((screen) => /Completed\n.*✓ look around general/.test(screen))
  await terminal.press('Escape')
  await terminal.see('✓ general look around')
})
