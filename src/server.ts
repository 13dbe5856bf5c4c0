/** Connects the server part of the plugin: rooms, tools and hooks. Decides nothing, and does nothing before a hook. */
import type { PluginModule } from '@opencode-ai/plugin'
import { dirname } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { systemClock } from './clock.ts'
import { thisMachine } from './work/command/this-machine.ts'
import { BackgroundManager } from './manager.ts'
import { connect } from './host/calls.ts'
import type { Opencode } from './host/opencode.ts'
import { pluginObserversOf } from './events.ts'
import { observe } from './host/observers.ts'
import { toolNames } from './tool-names.ts'
import { completeDefinition } from './tools/definition.ts'
import { backgroundApply } from './tools/background-apply.ts'
import { backgroundCancel } from './tools/background-cancel.ts'
import { backgroundOutput } from './tools/background-output.ts'
import { backgroundTask } from './tools/background-task.ts'
import { checkBackground } from './tools/check-background.ts'
import { Clashes, type Definition } from './setup/clashes.ts'
import { killBackground } from './tools/kill-background.ts'
import { listBackground } from './tools/list-background.ts'
import { Repeats } from './tools/repeats.ts'
import { noticeGuidance } from './tools/notice-guidance.ts'
import { defineTool, type Tool, type ToolShape } from './tools/tool.ts'
import type { ToolDefinition } from './tools/tool-ports.ts'
import { runBackground } from './tools/run-background.ts'
import { ViewHint } from './setup/view-hint.ts'
import { traitsOf } from './work/kinds.ts'

/**
 * The export that OpenCode expects of a plugin's module. Declared here, because a dependency on OpenCode's types, even an
 * optional one, would make each installation request them from the registry (seen).
 */
interface ServerPlugin {
  readonly id: string
  readonly server: (input: never, options?: Record<string, unknown>) => Promise<object>
  readonly setup: () => Promise<never>
}

const PLUGIN = 'opencode-background'

const UNSUPPORTED = 'opencode-background supports OpenCode 1, from 1.18.15 on, not OpenCode 2..'

const plugin = {
  id: PLUGIN,
  /** OpenCode 2 calls this instead of `server`. */
  setup: () => Promise.reject(new Error(UNSUPPORTED)),
  server({ client, directory, serverUrl }, options) {
    const own = toolNames('')
    const manager = new BackgroundManager({
      name: PLUGIN,
      tools: { read: own.background_output, send: own.background_task, kill: own.kill_background },
      client,
      directory,
      serverUrl,
      options,
    })
    // The terminal UI runs its server in a worker (contract 9.7); one in the main thread has no terminal UI.
    const hint = isMainThread ? undefined : viewHint(connect(client, directory, systemClock))
    const now = (): number => systemClock.now()
    const repeats = new Repeats()
    const observers = pluginObserversOf({ repeats, hint })
    const hooks = manager.hooks()
    const { toolNames: names, commands } = manager
    const ports = { manager, now, guidance: noticeGuidance(names), traitsOf }
    const define = <Shape extends ToolShape, Data>(tool: Tool<Shape, Data>): [string, ToolDefinition] => [
      names[tool.name],
      defineTool(manager, tool, repeats),
    ]
    const tools = [
      define(backgroundTask(ports)),
      define(backgroundOutput(ports)),
      define(backgroundCancel(ports)),
      define(backgroundApply(ports)),
      define(listBackground(ports)),
      ...(commands.enabled
        ? [define(runBackground(ports)), define(checkBackground(ports)), define(killBackground(ports))]
        : []),
    ]
    const clashes = new Clashes(Object.fromEntries(tools), (problem) => manager.report(problem))
    return Promise.resolve({
      ...hooks,
      tool: clashes.tools,
      // Synchronous, because OpenCode calls it for every event of the instance and never awaits it (contract 11.9).
      event({ event }) {
        observe(observers, event)
        return hooks.event({ event })
      },
      async 'tool.definition'({ toolID }, output) {
        const definition = output as Definition
        if (clashes.observeDefinition(toolID, definition))
          await completeDefinition(manager, toolID, definition)
      },
      'tool.execute.after'({ tool, callID }) {
        clashes.observeAnswer(tool, callID)
        return Promise.resolve()
      },
      dispose() {
        hint?.dispose()
        return hooks.dispose()
      },
    })
  },
} satisfies PluginModule & Pick<ServerPlugin, 'setup'>

function viewHint(opencode: Opencode): ViewHint {
  const show = (text: string): void => void opencode.warn(text).catch(() => {})
  return new ViewHint({ clock: systemClock, directory: dirname(thisMachine.root), show })
}

export default plugin as ServerPlugin
