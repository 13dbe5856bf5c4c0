/** Loads our plugin for OpenCode, and writes the time that this took in milliseconds. */
import type { PluginModule } from '@opencode-ai/plugin'
import { writeFileSync } from 'node:fs'

export default {
  id: 'timed',
  async server(input, options) {
    const began = performance.now()
    const { default: plugin } = (await import(String(options?.['plugin']))) as { default: PluginModule }
    const hooks = await plugin.server(input)
    writeFileSync(String(options?.['file']), String(performance.now() - began))
    return hooks
  },
} satisfies PluginModule
