/** Renders the notices that a parent reads about its tasks. Pure. */
import { traitsOf } from '../work/kinds.ts'
import {
  cutMiddle,
  leftOut,
  formatAsked,
  formatCost,
  formatDuration,
  formatTokens,
  howToAnswer,
  howToContinue,
  incompleteText,
  listed,
} from '../text/format.ts'
import { questionIn } from '../text/question.ts'
import { brief, nameForModel, sanitizeForElement } from '../text/sanitize.ts'
import type { Listening, OutputMatch, Usage } from '../task/state.ts'
import {
  isCutOff,
  isCutOffTooOften,
  isEnded,
  outlivesDefault,
  questionOf,
  type EndedTask,
  type Task,
} from '../task/task.ts'
import { isEndNotice, type EndNotice, type MatchesNotice, type Notice } from './notice.ts'

/** The circumstances of a notice. */
export interface NoticeContext {
  /** The tool that sends a prompt to a task. */
  readonly sendTool?: string | undefined
  /** Returns the current state of a task. */
  readonly now?: (task: Task) => Task
  /** Whether tasks that a restart has cut off are continued, until that has happened too often. */
  readonly continues?: boolean
}

/** Limit of all results and errors that a parent reads at once. */
const UNREAD_BYTES = 16 * 1024
/** Minimum share of a notice for its result and error. */
const LEAST_BYTES = 160
const ERROR_BYTES = 1024
/** Maximum characters of an attribute, such as an agent's name. */
const ATTRIBUTE_LENGTH = 80
/** How many ids the closing line names. */
const NAMED = 1

/**
 * Returns one text for each notice of a message, each within its share of the room.
 *
 * @param unreadBytes the bytes of sent notices that the parent has not read
 */
export function noticeTexts(
  notices: readonly Notice[],
  inlineResultBytes: number,
  unreadBytes: number,
  context: NoticeContext = {},
): string[] {
  const share = Math.floor((UNREAD_BYTES - unreadBytes) / notices.length)
  const room = Math.max(LEAST_BYTES, Math.min(inlineResultBytes, share))
  return notices.map((notice) => noticeText(notice, room, context))
}

/** The beginning of each line that closes a message of notices. */
export const LEAD = '[Automatic notice, not from the user.'

/**
 * Returns the line that closes a message of notices.
 *
 * @param unfinished the ids of the unfinished tasks
 * @param used the usage of all ended runs; reported when all tasks have ended
 * @param readTool the tool that reads more of a task
 */
export function closingText(
  notices: readonly Notice[],
  unfinished: ReadonlySet<string>,
  used: Usage,
  readTool: string | undefined,
): string {
  const rest = unfinished.size === 0 ? allEndedText(notices, used) : stillRunningText(unfinished)
  const more = readTool === undefined ? '' : ` More: ${readTool}.`
  return `${LEAD} ${rest}${more}]`
}

function stillRunningText(unfinished: ReadonlySet<string>): string {
  return `Still running: ${listed(firstOf(unfinished, NAMED), NAMED, unfinished.size)}.`
}

function allEndedText(notices: readonly Notice[], used: Usage): string {
  // The notice of a single task already reports this usage.
  const isSaid = notices.some((notice) => isEndNotice(notice) && notice.task.usage.tokens === used.tokens)
  if (isSaid) return 'No task of yours is running.'
  return `All ended: ${formatTokens(used.tokens)} tokens, ${formatCost(used.cost)}.`
}

function firstOf(ids: Iterable<string>, count: number): string[] {
  const first: string[] = []
  for (const id of ids) {
    if (first.length === count) break
    first.push(id)
  }
  return first
}

/** Returns the unfinished tasks that the summary of a parent's conversation must name. */
export function unfinishedText(tasks: readonly Task[]): string[] {
  if (tasks.length === 0) return []
  const lines = tasks.map(
    (task) => `- ${task.id}, ${traitsOf(task).workerInSentence(task)}: ${nameForModel(task.description)}`,
  )
  const head =
    'Background tasks of this session that have not ended. A notice reports the end of each. Keep their ids in the summary:'
  return [[head, ...lines].join('\n')]
}

function noticeText(notice: Notice, room: number, context: NoticeContext): string {
  if (isEndNotice(notice)) return endText(notice, room, context)
  const { task } = notice
  const isAfterEnd = isEnded(task) && !('monitored' in notice)
  // Lines that matched before an end may come with it, and must not look like a second end.
  const status = isAfterEnd || task.status === 'waiting' ? task.status : 'running'
  return element({ id: task.id, kind: task.kind, status }, [
    nameForModel(task.description),
    'monitored' in notice ? shortened(notice.lines ?? '', room) : besideEndText(notice),
  ])
}

function besideEndText(notice: Exclude<Notice, EndNotice | MatchesNotice>): string {
  if ('match' in notice) return outputMatchText(notice.task, notice.match)
  return 'listening' in notice
    ? listeningText(notice.task, notice.listening)
    : `It waits for a permission: ${formatAsked(notice.unanswered)}. Only the user can give it, in the session of the task; until then it reads no prompt.`
}

function outputMatchText(task: Task, { text }: OutputMatch): string {
  if (text === undefined)
    return 'The processes that it had left running have ended. None of its notify_on texts appeared.'
  const isUnlimited = !isEnded(task) && outlivesDefault(task)
  return `Its output has: ${nameForModel(text)}${isUnlimited ? '\nIt runs on without a time limit.' : ''}`
}

function listeningText(task: Task, { port, at }: Listening): string {
  const ranMs = 'startedAt' in task && task.startedAt !== undefined ? at - task.startedAt : 0
  return `It listens on port ${port} after ${formatDuration(ranMs)}, the default time limit: it runs on without a limit.`
}

function endText({ task, text: whole }: EndNotice, room: number, context: NoticeContext): string {
  const duration = formatDuration(task.endedAt - (task.startedAt ?? task.endedAt))
  const how = { status: task.status, ...(task.status === 'cancelled' && { by: task.by }), duration }
  const { endAttributes, endHint, endLines, silentEnd } = traitsOf(task)
  const hint = endHint(task)
  const question = questionOf(task)
  const text = question === undefined ? whole : (questionIn(whole)?.rest ?? whole)
  const error = errorLines(task, room)
  const asked = question === undefined ? '' : shortened(question, room / 2)
  const left = Math.max(0, room - Buffer.byteLength(error.join('') + asked))
  return element({ id: task.id, ...endAttributes(task, how) }, [
    nameForModel(task.description),
    ...error,
    ...(isCutOff(task) ? restartLines(task, context) : []),
    ...incompleteLines(task, text),
    ...(hint === undefined ? [] : [sanitizeForElement(hint)]),
    ...endLines(task).map(sanitizeForElement),
    ...(text !== ''
      ? [inTag(resultTag(task), shortened(text, left))]
      : asked
        ? []
        : emptyLines(task, silentEnd)),
    ...(asked ? [inTag('question', asked), answerLine(task, context)] : []),
  ])
}

function element(attributes: Readonly<Record<string, string>>, lines: readonly string[]): string {
  const head = Object.entries(attributes).map(
    ([name, value]) => ` ${name}="${brief(value, ATTRIBUTE_LENGTH).replace(/["<>]/g, '')}"`,
  )
  return [`<background_task${head.join('')}>`, ...lines, '</background_task>\n'].join('\n')
}

function errorLines(task: EndedTask, room: number): string[] {
  if (task.status !== 'failed') return []
  return [inTag('error', shortened(task.failure.message, Math.min(ERROR_BYTES, room / 2)))]
}

function emptyLines(task: EndedTask, silentEnd: string): string[] {
  return task.status === 'completed' && !task.incomplete ? [silentEnd] : []
}

function incompleteLines(task: EndedTask, text: string): string[] {
  return task.status === 'completed' && task.incomplete ? [incompleteText(task.incomplete, text)] : []
}

/** Returns what becomes of a task that a restart has cut off, if it does not stay as it is. */
function restartLines(
  task: EndedTask,
  { now = (same) => same, sendTool, continues }: NoticeContext,
): string[] {
  const next = now(task)
  if (next.run === task.run + 1 && 'askedBy' in next && next.askedBy === 'restart')
    return [`It goes on by itself as run ${next.run}: a notice reports its end.`]
  if (!continues || next.run > task.run || !isCutOffTooOften(task)) return []
  return [
    `Restarts have cut it off too often, so that it does not go on by itself. ${howToContinue(task.id, sendTool)}`,
  ]
}

/** Returns how to answer a question, unless the task has gone on since. */
function answerLine(task: EndedTask, { now = (same) => same, sendTool }: NoticeContext): string {
  const { run } = now(task)
  return run > task.run ? `It was answered: it goes on as run ${run}.` : howToAnswer(task.id, sendTool)
}

/** Partial output must not look like a result. */
function resultTag(task: EndedTask): string {
  return task.status === 'completed' && !task.incomplete ? 'result' : 'partial'
}

function inTag(tag: string, text: string): string {
  return `<${tag}>${text}</${tag}>`
}

function shortened(text: string, room: number): string {
  return cutMiddle(sanitizeForElement(text), room, leftOut)
}
