/** The tool that shows a command and the end of its output. */
import * as z from 'zod/mini'
import { readerOf } from '../host/reader.ts'
import { ToolError } from '../tool-error.ts'
import { readTask } from './background-output.ts'
import { PAGE } from './render/page-text.ts'
import type { TaskAnswer } from './render/task-text.ts'
import { described, OFFSET, ownTask, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

const ARGS = {
  task_id: described(z.string().check(z.trim()), 'Its id'),
  tail_lines: described(z.optional(z.int().check(z.minimum(0))), 'Only the last lines of each stream'),
  offset: OFFSET,
  stream: described(z._default(z.enum(['stdout', 'stderr']), 'stdout'), 'Of offset'),
}

export function checkBackground(ports: ToolPorts): Tool<typeof ARGS, TaskAnswer> {
  const { manager } = ports
  return {
    name: 'check_background',
    description: 'Read a background command: status, exit code, and the end of its output.',
    args: ARGS,
    effect: 'reads',
    async call({ task_id, tail_lines: tailLines, offset, stream }, caller) {
      if (tailLines && offset !== undefined)
        throw new ToolError(
          'Give either tail_lines or offset, not both: one shows the end, the other a page that begins there.',
        )
      const { id } = await ownTask(manager, task_id, caller.sessionID)
      const piece = offset === undefined ? undefined : { stream, offset, bytes: PAGE.bytes }
      const options = { tailLines, piece, signal: caller.abort, reader: readerOf(caller) }
      return readTask(ports, id, options, { offset })
    },
    render: (answer, { taskText }) => taskText(ports, answer),
  }
}
