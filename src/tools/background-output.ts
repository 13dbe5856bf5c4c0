/** The tool that reads a task: its result after the end, its activity before. */
import * as z from 'zod/mini'
import { formatCost, formatDuration, formatTokens, incompleteText } from '../text/format.ts'
import type { OutputOptions, TaskReport } from '../manager.ts'
import { readerOf } from '../host/reader.ts'
import { brief, nameForModel } from '../text/sanitize.ts'
import { traitsOf } from '../work/kinds.ts'
import { isEnded, type EndedTask, type UnfinishedTask, type Usage } from '../task/task.ts'
import { commandText } from './render/command-text.ts'
import { statusNote } from './render/status-note.ts'
import { endsText, OFFSET, PAGE, pageText } from './render/page-text.ts'
import { storyText } from './render/story-text.ts'
import { transcriptText, type TranscriptOptions } from './render/transcript-text.ts'
import type { Telling } from './telling.ts'
import { described, MILLISECONDS, ownTask, type Tool, type ToolPorts, type ToolResult } from './tool.ts'

/** The maximum wait: models request an hour. */
const LONGEST_BLOCK_MS = 600_000

/** The maximum length of an error: a provider can answer with a whole page. */
const ERROR_LENGTH = 2000

const UNREADABLE = 'Its session cannot be read (any more).'
const WENT_ON =
  'After this end its session continued, under messages that are not yours: full_session shows them.'

/** Which part to show: of an agent, the transcript instead of the result; of a long text, the page from `offset`. */
interface Wanted {
  readonly transcript?: TranscriptOptions | undefined
  readonly offset?: number | undefined
}

/** A task as a call has read it. */
export interface TaskAnswer {
  readonly report: TaskReport
  readonly note: string | undefined
  /** When it was read, in milliseconds since the Unix epoch. */
  readonly at: number
  readonly wanted: Wanted
}

const flag = (description: string) => described(z.optional(z.boolean()), description)

const ARGS = {
  task_id: described(z.string().check(z.trim()), 'Its id'),
  block: flag('Wait until it ends or timeout passes'),
  timeout: described(z._default(MILLISECONDS, 120_000), 'Of block, in ms'),
  full_session: flag('The transcript instead of the result'),
  message_limit: described(z.optional(z.int().check(z.minimum(0))), 'Number of its last messages'),
  include_thinking: flag('In the transcript'),
  include_tool_results: flag('In the transcript'),
  offset: OFFSET,
  story: flag('Its steps, timed: why it is stuck'),
}

export function backgroundOutput(ports: ToolPorts): Tool<typeof ARGS, TaskAnswer | string> {
  const { manager, now, telling } = ports
  return {
    name: 'background_output',
    description: `Read a background task: its status, or its result. ${telling.ofRead}`,
    args: ARGS,
    effect: 'reads',
    async call({ task_id, block, timeout, story, offset, ...session }, caller) {
      const task = await ownTask(manager, task_id, caller.sessionID)
      const { id } = task
      // The story does not contain the result, so that the notice stays owed.
      if (story) return storyText(task, manager.story(id), now())
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
    render: (answer) => (typeof answer === 'string' ? answer : answerOf(ports, answer)),
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
  return { report, note: statusNote(manager, report.task), at: now(), wanted }
}

/** Renders a task, for each tool that reads one. */
export function answerOf(ports: ToolPorts, answer: TaskAnswer): Exclude<ToolResult, string> {
  const { task, output, piece, receipt } = answer.report
  return {
    title: task.description,
    output:
      task.kind === 'command' && output
        ? commandText({ ...answer, task, output, piece }, ports)
        : describe(answer, ports.telling),
    metadata: { taskID: task.id, sessionID: task.sessionID, status: task.status, run: task.run, ...receipt },
  }
}

function describe(answer: TaskAnswer, telling: Telling): string {
  const { report, wanted } = answer
  const { task, messages } = report
  const { transcript, offset } = wanted
  const lines = isEnded(task) ? endedLines(task) : unfinishedLines(task, answer, telling)
  if (transcript)
    lines.push('', messages.length === 0 ? UNREADABLE : partOf(transcriptText(messages, transcript), offset))
  else if (isEnded(task)) lines.push('', ...resultLines(task, report, offset))
  return [
    `task_id: ${task.id}`,
    ...traitsOf(task).lines(task),
    `description: ${nameForModel(task.description)}`,
    ...lines,
  ].join('\n')
}

function unfinishedLines(
  task: UnfinishedTask,
  { report: { transcript }, at: now, note }: TaskAnswer,
  { unfinished }: Telling,
): string[] {
  const status = `status: ${task.status}${note === undefined ? '' : ` (${note})`}`
  if (task.status === 'pending')
    return [status, `queued for: ${formatDuration(now - task.createdAt)}`, '', unfinished]
  const lines = [status, `elapsed: ${formatDuration(now - task.startedAt)}`]
  if (task.status === 'waiting') lines.push('The user can answer in the session of the task.')
  if (!transcript) return [...lines, '', unfinished]
  const { activity, usage } = transcript
  const last = activity
    ? `${nameForModel(activity.what)}, ${formatDuration(now - activity.at)} ago`
    : 'none yet'
  return [...lines, `last activity: ${last}`, usageLine(usage), '', unfinished]
}

function endedLines(task: EndedTask): string[] {
  const duration =
    task.startedAt === undefined ? 'never started' : formatDuration(task.endedAt - task.startedAt)
  const lines = [`status: ${task.status}`, `duration: ${duration}`, usageLine(task.usage)]
  if (task.status === 'failed')
    lines.push(`reason: ${task.failure.reason}`, `error: ${brief(task.failure.message, ERROR_LENGTH)}`)
  if (task.status === 'cancelled') lines.push(`cancelled by: ${task.by === 'parent' ? 'you' : 'the user'}`)
  return lines
}

function resultLines(task: EndedTask, { transcript }: TaskReport, offset: number | undefined): string[] {
  if (!transcript) return [UNREADABLE]
  const since = transcript.goesOn ? [WENT_ON] : []
  const { text } = transcript
  return [...since, headingOf(task, text), ...(text === '' ? [] : [partOf(text, offset)])]
}

/** Returns the line before the text of a run, which is '' where the agent wrote none. */
function headingOf(task: EndedTask, text: string): string {
  if (task.status === 'completed' && task.incomplete) return incompleteText(task.incomplete, text)
  if (text === '') return 'It wrote no text.'
  return task.status === 'completed' ? 'result:' : 'its last text:'
}

function partOf(text: string, offset: number | undefined): string {
  if (offset === undefined) return endsText(text)
  const bytes = Buffer.from(text)
  const page = pageText({ bytes: bytes.subarray(offset), offset, size: bytes.length })
  return `${page.text.replace(/\n$/, '')}\n${page.after}`
}

function usageLine({ toolCalls, tokens, cost }: Usage): string {
  return `tool calls: ${toolCalls}, tokens: ${formatTokens(tokens)}, cost: ${formatCost(cost)}`
}
