/** The tool that stops tasks. */
import * as z from 'zod/mini'
import { ToolError } from '../tool-error.ts'
import type { CancelAnswer } from './render/cancel-text.ts'
import { described, ownTask, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

const ARGS = {
  task_id: described(z.optional(z.string().check(z.trim())), 'Its id'),
  all: described(z.optional(z.boolean()), 'All unfinished'),
}

export function backgroundCancel({ manager, guidance }: ToolPorts): Tool<typeof ARGS, CancelAnswer> {
  return {
    name: 'background_cancel',
    description:
      `Stop a background task, or with all: true every unfinished one. Its work so far stays readable. ${guidance.ofCancel}`.trimEnd(),
    args: ARGS,
    effect: 'ends',
    async call(args, { sessionID }) {
      const all = isForAll(args)
      const task_id = namesAll(args) ? undefined : args.task_id
      if (task_id !== undefined && all) throw new ToolError('Give either task_id or all: true, not both.')
      const cancelling = await import('./cancelling.ts')
      if (task_id !== undefined)
        return cancelling.cancelOne(manager, await ownTask(manager, task_id, sessionID))
      if (!all) throw new ToolError('Give task_id, or all: true.')
      return cancelling.cancelAll(manager, sessionID)
    },
    render: (answer, { cancelText }) => cancelText(answer, guidance),
  }
}

interface CancelArgs {
  readonly task_id?: string | undefined
  readonly all?: boolean | undefined
}

/** Whether a call stops all tasks. */
export function isForAll(args: CancelArgs): boolean {
  return args.all ?? namesAll(args)
}

/** Models also write `task_id: "all"`. */
function namesAll({ task_id }: CancelArgs): boolean {
  return task_id?.toLowerCase() === 'all'
}
