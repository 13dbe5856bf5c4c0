/** The server part of the plugin: options, rooms, hooks. Nothing is decided here, and nothing is done before a hook. */
import type { PluginModule } from '@opencode-ai/plugin'
import { randomUUID } from 'node:crypto'
import { systemClock } from './clock.ts'
import { parseOptions } from './config.ts'
import { hostLog } from './log.ts'
import { BackgroundManager } from './manager.ts'
import { connect, type Event } from './opencode.ts'
import { currentOwner } from './task/record.ts'
import { backgroundCancel } from './tools/background-cancel.ts'
import { backgroundOutput } from './tools/background-output.ts'
import { backgroundTask } from './tools/background-task.ts'
import { listBackground } from './tools/list-background.ts'

/**
 * What OpenCode takes a plugin's module to export. Spelled out, because a dependency on the host's types, even an
 * optional one, would make each installation ask the registry for them (seen).
 */
interface ServerPlugin {
  readonly id: string
  readonly server: (input: never, options?: Record<string, unknown>) => Promise<object>
}

const plugin = {
  id: 'opencode-background',
  server(input, rawOptions) {
    const { options, problems } = parseOptions(rawOptions)
    const clock = systemClock
    const opencode = connect(input.client, clock)
    const log = hostLog((level, message) => opencode.log(level, message), options)
    const manager = new BackgroundManager({ opencode, clock, log }, options, currentOwner(randomUUID()))
    const now = (): number => clock.now()
    return Promise.resolve({
      tool: {
        background_task: backgroundTask(manager),
        background_output: backgroundOutput(manager, now),
        background_cancel: backgroundCancel(manager),
        list_background: listBackground(manager, now, problems),
      },
      // Never awaited by the host and called for every event of the instance: synchronous (contract 11.9).
      event({ event }) {
        manager.handleEvent(event as Event)
        return Promise.resolve()
      },
      dispose: () => manager.dispose(),
    })
  },
} satisfies PluginModule

export default plugin as ServerPlugin
