/** The tool that kills a command. */
import * as z from 'zod/mini'
import type { CancelAnswer } from './render/cancel-text.ts'
import { described, ownTask, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

const ARGS = { task_id: described(z.string().check(z.trim()), 'Its id') }

export function killBackground({ manager, guidance }: ToolPorts): Tool<typeof ARGS, CancelAnswer> {
  return {
    name: 'kill_background',
    description: `Kill a background command and its processes. ${guidance.ofKill}`,
    args: ARGS,
    effect: 'ends',
    async call({ task_id }, caller) {
      const { cancelOne } = await import('./cancelling.ts')
      return cancelOne(manager, await ownTask(manager, task_id, caller.sessionID))
    },
    render: (answer, { cancelText }) => cancelText(answer, guidance),
  }
}
