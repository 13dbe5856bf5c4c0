import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openAlone } from '../harness/alone.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { homeWithPlugin } from '../harness/packed.ts'
import type { Script } from '../harness/script.ts'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, obey } from '../harness/stage.ts'
import type { Terminal } from '../harness/terminal.ts'
import { rowWithTime } from '../harness/tui.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** Starts `opencode` alone, with options for the view. */
async function open(
  options: object,
  script: Script,
  onModel: (model: ScriptedModel) => void = () => {},
): Promise<Terminal> {
  const model = await startModel(script)
  onModel(model)
  const home = await homeWithPlugin({}, options)
  const { terminal, close } = await openAlone(home, model)
  closing.push(close)
  await terminal.see('ctrl+p')
  return terminal
}

test('`opencode` alone, with its server in one process, shows the view; its key is an option', async () => {
  const answer = heldReply()
  const terminal = await open({ key: 'f6' }, (request) =>
    request.parentSessionID === undefined ? obey(request) : answer.reply,
  )
  await terminal.press('F6')
  await terminal.see('Open a session first')
  await terminal.type(`CALL ${JSON.stringify([backgroundTask('look around')])} END`)
  await terminal.press('Enter')
  await terminal.see('Background 1 running')
  await terminal.see(rowWithTime('●', 'general look around'))
  await terminal.press('F6')
  await terminal.see('Background tasks: 1 running')
  answer.release({ text: 'nothing there' })
  await terminal.see((screen) => /Completed\n.*✓ look around general/.test(screen))
  await terminal.press('Escape')
  await terminal.see('✓ general look around')
})

test('a notice leaves the text in the prompt alone, and a command receives no keys', async () => {
  let model: ScriptedModel | undefined
  const terminal = await open({ key: 'f6' }, obey, (started) => (model = started))
  const go = join(mkdtempSync(join(tmpdir(), 'opencode-go-')), 'go')
  closing.push(async () => rmSync(dirname(go), { recursive: true }))
  const gate = `until [ -e ${go} ]; do sleep 0.1; done`
  const args = { command: `${gate}; cat </dev/tty; read -r line; echo "heard: $line"` }
  await terminal.type(`CALL ${JSON.stringify([{ name: 'run_background', args }])} END`)
  await terminal.press('Enter')
  await terminal.see('Background 1 running')
  await terminal.type('half a sen')
  await terminal.see('half a sen')
  writeFileSync(go, '')
  const isTold = (content = ''): boolean => content.includes('<result>heard: \n')
  await model?.waitForRequest(({ messages }) => isTold(messages.at(-1)?.content))
  await terminal.see(['Background all ended', 'half a sen'])
  await terminal.type('tence')
  await terminal.press('Enter')
  await model?.waitForRequest(({ messages }) => messages.at(-1)?.content === 'half a sentence')
  expect(await terminal.screen()).not.toContain('half a sentencehalf')
})

test('N8: a toast and /tasks name the invalid options, and the view works with the others', async () => {
  const terminal = await open({ key: 5, keyy: 'f6' }, obey)
  // Toasts wrap their lines.
  await terminal.see(['option key: expected a key', 'option keyy: there is no such option'])
  await terminal.type(`CALL ${JSON.stringify([backgroundTask('look around')])} END`)
  await terminal.press('Enter')
  await terminal.see('Background all ended')
  await terminal.press('C-x', 'j')
  await terminal.see(['Options in tui.json', 'keyy: there is no such option; did you mean key?'])
})
