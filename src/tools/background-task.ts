/** The tool that delegates a task to a sub-agent, or sends another prompt to one. */
import type { StartedTask } from './render/started-text.ts'
import { ARGS } from './task-arguments.ts'
import { described, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

export function backgroundTask(ports: ToolPorts): Tool<typeof ARGS, StartedTask> {
  const { manager, guidance } = ports
  return {
    name: 'background_task',
    description: `Launch a background sub-agent, and continue with your own work. ${guidance.ofAgent}`,
    args: argsAt(manager.places),
    effect: 'starts',
    async call(args, caller) {
      const calls = await import('./task-calls.ts')
      return args.task_id === undefined
        ? calls.launch(manager, args, caller)
        : calls.say(ports, args.task_id, args, caller)
    },
    render: (started, { startedTaskText }) => startedTaskText(started, ports),
  }
}

/** Returns the arguments, with the words for `where`; without it if there are none. */
function argsAt(places: readonly string[]): typeof ARGS {
  const { where, ...here } = ARGS
  if (places.length === 0) return here as typeof ARGS
  return {
    ...here,
    where: described(where, `Run at another machine (${places.join(', ')}); ends as a branch`),
  }
}
