/** The tool that shows a command and the end of its output. */
import * as z from 'zod/mini'
import type { BackgroundManager } from '../manager.ts'
import { readerOf } from '../host/reader.ts'
import { ToolError } from '../tool-error.ts'
import { answerOf } from './background-output.ts'
import { OFFSET, PAGE } from './render/page-text.ts'
import { defineTool, described, ownTask, type ToolDefinition } from './tool.ts'

export function checkBackground(manager: BackgroundManager, now: () => number): ToolDefinition {
  return defineTool(manager, {
    looksOnly: true,
    description: 'Read a background command: its status, exit code, and the end of its output.',
    args: {
      task_id: described(z.string().check(z.trim()), 'Its id'),
      tail_lines: described(z.optional(z.int().check(z.minimum(0))), 'Only the last lines of each stream'),
      offset: OFFSET,
      stream: described(z._default(z.enum(['stdout', 'stderr']), 'stdout'), 'Of offset'),
    },
    async execute({ task_id, tail_lines: tailLines, offset, stream }, context) {
      if (tailLines && offset !== undefined)
        throw new ToolError(
          'Give either tail_lines or offset, not both: one shows the end, the other a page that begins there.',
        )
      const { id } = await ownTask(manager, task_id, context.sessionID)
      const piece = offset === undefined ? undefined : { stream, offset, bytes: PAGE.bytes }
      const report = await manager.output(id, {
        tailLines,
        piece,
        signal: context.abort,
        reader: readerOf(context),
      })
      return answerOf(manager, report, now(), { offset })
    },
  })
}
