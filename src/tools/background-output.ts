/** The tool that reads a task: its result after the end, its activity before. */
import * as z from 'zod/mini'
import type { OutputOptions } from '../task-reader.ts'
import { readerOf } from '../host/reader.ts'
import { statusNote } from './render/task-status.ts'
import { PAGE } from './render/page-text.ts'
import type { StoryAnswer } from './render/story-text.ts'
import type { TaskAnswer, Wanted } from './render/task-text.ts'
import { described, MILLISECONDS, OFFSET, ownTask, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

/** The maximum wait: models request an hour. */
const LONGEST_BLOCK_MS = 600_000

const flag = (description: string) => described(z.optional(z.boolean()), description)

const ARGS = {
  task_id: described(z.string().check(z.trim()), 'Its id'),
  block: flag('Wait for its end, or timeout'),
  timeout: described(z._default(MILLISECONDS, 120_000), 'Of block, in ms'),
  full_session: flag('The transcript, not the result'),
  message_limit: described(z.optional(z.int().check(z.minimum(0))), 'Only its last messages'),
  include_thinking: flag('In the transcript'),
  include_tool_results: flag('In the transcript'),
  offset: OFFSET,
  story: flag('Its steps, timed: why it is stuck'),
}

export function backgroundOutput(ports: ToolPorts): Tool<typeof ARGS, TaskAnswer | StoryAnswer> {
  const { manager, now, guidance } = ports
  return {
    name: 'background_output',
    description: `Read a background task: status or result. ${guidance.ofRead}`,
    args: ARGS,
    effect: 'reads',
    async call({ task_id, block, timeout, story, offset, ...session }, caller) {
      const task = await ownTask(manager, task_id, caller.sessionID)
      const { id } = task
      // The story does not contain the result, so that the notice stays owed.
      if (story) return { task, story: manager.story(id), at: now() }
      // Each option of the transcript implies `full_session`.
      const { full_session, message_limit: limit } = session
      const { include_thinking: thinking = false, include_tool_results: toolResults = false } = session
      const wantsTranscript = full_session || (limit ?? 0) > 0 || thinking || toolResults
      const options = {
        // One more shows whether there are earlier ones.
        ...(wantsTranscript && { messages: limit === undefined ? Infinity : limit + 1 }),
        // 0 means no wait here, but no limit in `manager.output`.
        ...(block && timeout > 0 && { timeoutMs: Math.min(timeout, LONGEST_BLOCK_MS) }),
        piece: offset === undefined ? undefined : { stream: 'stdout' as const, offset, bytes: PAGE.bytes },
        signal: caller.abort,
        reader: readerOf(caller),
      }
      const transcript = wantsTranscript ? { limit, thinking, toolResults } : undefined
      return readTask(ports, id, options, { transcript, offset })
    },
    render: (answer, { storyText, taskText }) =>
      'report' in answer ? taskText(ports, answer) : storyText(answer),
  }
}

/** Reads a task, after waiting for its end if the options say so. */
export async function readTask(
  { manager, now }: ToolPorts,
  taskID: string,
  options: OutputOptions,
  wanted: Wanted,
): Promise<TaskAnswer> {
  const report = await manager.output(taskID, options)
  const { task } = report
  return { report, note: statusNote(manager, task), budget: await manager.budget(task.id), at: now(), wanted }
}
