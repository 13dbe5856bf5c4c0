/** A plugin that wraps another one and keeps the host's events from it: what is left to it is its poll. */
import type { Hooks, PluginInput, PluginModule } from '@opencode-ai/plugin'

interface DeafOptions {
  /** The absolute path of the plugin's bundle. */
  readonly plugin: string
  readonly options: Record<string, unknown>
}

export default {
  id: 'deaf',
  async server(input: PluginInput, options?: Record<string, unknown>): Promise<Hooks> {
    const { plugin, options: inner } = options as unknown as DeafOptions
    const { default: wrapped } = (await import(plugin)) as { default: PluginModule }
    const { event: _event, ...hooks } = await wrapped.server(input, inner)
    return hooks
  },
}
