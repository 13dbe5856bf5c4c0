/** Runs the terminal UI with its server in the same process: `opencode` alone, as most users start it. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Home } from './home.ts'
import type { ScriptedModel } from './model.ts'
import { configuration } from './server.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface Alone {
  readonly terminal: Terminal
  /** Ends OpenCode and the model, and removes the home. */
  readonly close: () => Promise<void>
}

/** Starts `opencode` in this home. */
export async function openAlone(home: Home, model: ScriptedModel): Promise<Alone> {
  writeFileSync(
    join(home.config, 'opencode.json'),
    JSON.stringify(configuration({ model, config: { snapshot: false } })),
  )
  const terminal = await openTerminal({ home: home.path })
  return {
    terminal,
    close: async () => {
      await terminal.close()
      await model.close()
      rmSync(home.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    },
  }
}
