/**
 * Adds a variable to the environment of shell commands by their directory, as direnv plugins do. OpenCode
 * loads this plugin file itself.
 */
import type { PluginModule } from '@opencode-ai/plugin'
import { setTimeout as sleep } from 'node:timers/promises'

export default {
  id: 'direnv',
  server: () =>
    Promise.resolve({
      'shell.env': async ({ cwd }, { env }) => {
        await sleep(20)
        env['FROM_HOOK'] = cwd
      },
    }),
} satisfies PluginModule
