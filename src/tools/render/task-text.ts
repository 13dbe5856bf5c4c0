/** Renders the answer of a tool that reads a task. Pure. */
import { formatCost, formatDuration, formatTokens, howToAnswer, incompleteText } from '../../text/format.ts'
import type { TaskReport } from '../../task-reader.ts'
import { questionIn } from '../../text/question.ts'
import { brief, nameForModel, sanitizeForModel } from '../../text/sanitize.ts'
import { useText, type BudgetUse } from '../../task/budget-use.ts'
import type { Usage } from '../../task/state.ts'
import { isEnded, questionOf, type EndedTask, type UnfinishedTask } from '../../task/task.ts'
import { dependenciesOf } from '../../task/dependency.ts'
import type { ToolPorts, ToolResult } from '../tool-ports.ts'
import { commandText, type TextPorts } from './command-text.ts'
import { endsText, pageText } from './page-text.ts'
import { transcriptText, type TranscriptOptions } from './transcript-text.ts'

/** Which part to show: of an agent, the transcript instead of the result; of a long text, the page from `offset`. */
export interface Wanted {
  readonly transcript?: TranscriptOptions | undefined
  readonly offset?: number | undefined
}

/** A task as a call has read it. */
export interface TaskAnswer {
  readonly report: TaskReport
  readonly note: string | undefined
  /** Its budget, and what is used of it. */
  readonly budget: BudgetUse | undefined
  /** When it was read, in milliseconds since the Unix epoch. */
  readonly at: number
  readonly wanted: Wanted
}

/** The maximum length of an error: a provider can answer with a whole page. */
const ERROR_LENGTH = 2000

const UNREADABLE = 'Its session cannot be read (any more).'
const WENT_ON =
  'After this end its session continued, under messages that are not yours: full_session shows them.'

interface TaskTextPorts extends TextPorts {
  readonly traitsOf: ToolPorts['traitsOf']
}

/** Returns the answer of a tool that reads one task. */
export function taskText(ports: TaskTextPorts, answer: TaskAnswer): Exclude<ToolResult, string> {
  const { task, output, piece, monitor, receipt } = answer.report
  return {
    title: task.description,
    output:
      task.kind === 'command' && output
        ? commandText({ ...answer, task, output, piece, monitor }, ports)
        : describe(answer, ports),
    metadata: { taskID: task.id, sessionID: task.sessionID, status: task.status, run: task.run, ...receipt },
  }
}

function describe(answer: TaskAnswer, { guidance, traitsOf }: TaskTextPorts): string {
  const { report, wanted, budget } = answer
  const { task, messages } = report
  const { transcript, offset } = wanted
  const lines = isEnded(task)
    ? [...endedLines(task), ...traitsOf(task).endLines(task)]
    : unfinishedLines(task, answer, guidance)
  if (transcript)
    lines.push('', messages.length === 0 ? UNREADABLE : partOf(transcriptText(messages, transcript), offset))
  else if (isEnded(task))
    lines.push('', ...resultLines(task, report, offset), ...questionLines(task, guidance))
  return [
    `task_id: ${task.id}`,
    ...traitsOf(task).lines(task),
    `description: ${nameForModel(task.description)}`,
    ...(budget ? [`budget: ${useText(budget)}`] : []),
    ...lines,
  ].join('\n')
}

function unfinishedLines(
  task: UnfinishedTask,
  { report: { transcript }, at: now, note }: TaskAnswer,
  { unfinished }: TextPorts['guidance'],
): string[] {
  const status = `status: ${task.status}${note === undefined ? '' : ` (${note})`}`
  if (task.status === 'pending') {
    const since = dependenciesOf(task).length > 0 ? 'waiting for' : 'queued for'
    return [status, `${since}: ${formatDuration(now - task.createdAt)}`, '', unfinished]
  }
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
  const asked = questionOf(task) === undefined ? undefined : questionIn(transcript.text)
  const text = asked?.rest ?? transcript.text
  if (asked && text === '') return since
  return [...since, headingOf(task, text), ...(text === '' ? [] : [partOf(text, offset)])]
}

function questionLines(task: EndedTask, { sendTool }: TextPorts['guidance']): string[] {
  const question = questionOf(task)
  return question === undefined
    ? []
    : ['', 'It asks:', sanitizeForModel(question), '', howToAnswer(task.id, sendTool)]
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
