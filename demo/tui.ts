/** Opens the real terminal UI, with the packed plugin, beside a server on the scripted model. */
import { spawn } from 'node:child_process'
import { environment } from '../tests/harness/home.ts'
import type { ScriptedModel } from '../tests/harness/model.ts'
import { homeWithPlugin } from '../tests/harness/packed.ts'
import { opencodeBinary } from '../tests/harness/process.ts'
import { startOpencode } from '../tests/harness/server.ts'

/** Resolves when the person has left it. */
export async function openTui(model: ScriptedModel, options: object, firstMessage: string): Promise<void> {
  console.log('Packing the plugin, and starting the real OpenCode in a temporary home …')
  const home = await homeWithPlugin(options)
  const server = await startOpencode({ model, home: home.path })
  try {
    const { id } = await server.createSession({ title: 'Demo' })
    const { TERM = 'xterm-256color', COLORTERM = 'truecolor' } = process.env
    const args = ['attach', server.url, '--dir', home.directory, '--session', id]
    const tui = spawn(opencodeBinary(), args, {
      cwd: home.directory,
      env: { ...environment(home), TERM, COLORTERM },
      stdio: 'inherit',
    })
    const closed = new Promise((resolve) => {
      tui.once('close', resolve)
    })
    // The terminal UI has the terminal's keys, ctrl+c among them.
    process.on('SIGINT', () => {})
    await server.prompt(id, firstMessage)
    await closed
  } finally {
    await server.stop()
  }
}
