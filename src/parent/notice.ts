/** The text that a parent reads when its tasks have ended. Pure. */
import {
  cutMiddle,
  leftOut,
  formatAsked,
  formatCost,
  formatDuration,
  formatTokens,
  incompleteText,
} from '../format.ts'
import { brief, forModel, nameForModel } from '../plain.ts'
import type { Asked, EndedTask, Exit, Sighting, Task, Usage } from '../task/task.ts'

/**
 * What a parent is owed: the end of a run with what it said, or while it goes on, a text that has appeared or a question for
 * a permission that nobody answers.
 */
export type Notice =
  | { readonly task: EndedTask; readonly text: string }
  | { readonly task: Task; readonly sighting: Sighting }
  | { readonly task: Task; readonly unanswered: readonly Asked[]; readonly at: number }

export type EndNotice = Extract<Notice, { text: string }>

/** What a parent is to read at once, beside the notices' own words. */
const UNREAD_BYTES = 16 * 1024
/** What each says of its result and its error at least. */
const LEAST_BYTES = 160
const ERROR_BYTES = 1024
/** Of an attribute, as an agent's name. */
const ATTRIBUTE_LENGTH = 80
/** How many ids the closing line holds. */
const NAMED = 1

/** What makes a notice the same notice, however often it is made. */
export function noticeKey(notice: Notice): string {
  const { task } = notice
  if ('sighting' in notice) return sightingKey(task)
  return 'unanswered' in notice ? unansweredKey(task) : endKey(task)
}

export function endKey({ id, run }: Task): string {
  return `${id} ${run} ended`
}

export function sightingKey({ id, run }: Task): string {
  return `${id} ${run} saw`
}

export function unansweredKey({ id, run }: Task): string {
  return `${id} ${run} unanswered`
}

/** When that happened of which it tells. */
export function noticedAt(notice: Notice): number {
  if ('sighting' in notice) return notice.sighting.at
  return 'unanswered' in notice ? notice.at : notice.task.endedAt
}

/** The same for a notice that rides on a message of the user's. */
export function ridingKey(key: string): string {
  return `${key} with the user's message`
}

/**
 * One text for each notice of a message, each with its share of the room.
 *
 * @param unreadBytes what stands before the parent already that it has not read
 */
export function noticeTexts(
  notices: readonly Notice[],
  inlineResultBytes: number,
  unreadBytes: number,
): string[] {
  const share = Math.floor((UNREAD_BYTES - unreadBytes) / notices.length)
  const room = Math.max(LEAST_BYTES, Math.min(inlineResultBytes, share))
  return notices.map((notice) => noticeText(notice, room))
}

/**
 * The line that closes a message of notices.
 *
 * @param unfinished the ids of what has not ended
 * @param used what all that has ended has used; told when all have
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
  return `[Automatic notice, not from the user. ${rest}${more}]`
}

function stillRunningText(unfinished: ReadonlySet<string>): string {
  const named = firstOf(unfinished, NAMED)
  const more = unfinished.size - named.length
  return `Still running: ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`
}

function allEndedText(notices: readonly Notice[], used: Usage): string {
  // One that was alone says it of itself.
  const isSaid = notices.some((notice) => 'text' in notice && notice.task.usage.tokens === used.tokens)
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

/** What a parent's model is to remember when its conversation is summed up. */
export function unfinishedText(tasks: readonly Task[]): string[] {
  if (tasks.length === 0) return []
  const lines = tasks.map((task) => `- ${task.id}, ${workerOf(task)}: ${nameForModel(task.description)}`)
  const head =
    'Background tasks of this session that have not ended. A notice comes by itself for each. Keep their ids in the summary:'
  return [[head, ...lines].join('\n')]
}

function workerOf(task: Task): string {
  return task.kind === 'agent' ? `agent ${task.agent}` : 'a command'
}

function noticeText(notice: Notice, room: number): string {
  if ('sighting' in notice) return sightingText(notice)
  return 'unanswered' in notice ? unansweredText(notice) : endText(notice, room)
}

function sightingText({ task, sighting }: Extract<Notice, { sighting: Sighting }>): string {
  return element({ id: task.id, kind: task.kind, status: 'running' }, [
    nameForModel(task.description),
    `Its output has: ${nameForModel(sighting.text)}`,
  ])
}

function unansweredText({ task, unanswered }: Extract<Notice, { unanswered: readonly Asked[] }>): string {
  return element({ id: task.id, kind: task.kind, status: 'waiting' }, [
    nameForModel(task.description),
    `It waits for a permission: ${formatAsked(unanswered)}. Only the user can give it, in the session of the task; until then it hears no prompt.`,
  ])
}

function endText({ task, text }: EndNotice, room: number): string {
  const duration = formatDuration(task.endedAt - (task.startedAt ?? task.endedAt))
  const how = { status: task.status, ...(task.status === 'cancelled' && { by: task.by }), duration }
  const attributes =
    task.kind === 'agent'
      ? {
          id: task.id,
          run: String(task.run),
          agent: task.agent,
          ...how,
          tool_calls: String(task.usage.toolCalls),
          tokens: formatTokens(task.usage.tokens),
          cost: formatCost(task.usage.cost),
        }
      : { id: task.id, kind: task.kind, ...how, ...exitAttribute(task.exit) }
  const error = errorLines(task, room)
  const left = Math.max(0, room - Buffer.byteLength(error.join('')))
  return element(attributes, [
    nameForModel(task.description),
    ...error,
    ...incompleteLines(task, text),
    ...(text === '' ? emptyLines(task) : [inTag(resultTag(task), shortened(text, left))]),
  ])
}

function exitAttribute(exit: Exit | undefined): Record<string, string> {
  if (!exit) return {}
  return exit.type === 'exited' ? { exit_code: String(exit.code) } : { signal: exit.signal }
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

function emptyLines(task: EndedTask): string[] {
  if (task.status !== 'completed') return []
  return [task.kind === 'agent' ? 'It ended without a word.' : 'It ended without any output.']
}

function incompleteLines(task: EndedTask, text: string): string[] {
  return task.status === 'completed' && task.incomplete && text !== ''
    ? [incompleteText(task.incomplete)]
    : []
}

/** Partial output must not look like a result. */
function resultTag(task: EndedTask): string {
  return task.status === 'completed' && !task.incomplete ? 'result' : 'partial'
}

function inTag(tag: string, text: string): string {
  return `<${tag}>${text}</${tag}>`
}

function shortened(text: string, room: number): string {
  return cutMiddle(harmless(text), room, leftOut)
}

/** Text of a child cannot end its own notice, nor begin another; code with types such as `Partial` stays as it is. */
function harmless(text: string): string {
  return forModel(text)
    .replaceAll(/<(?=\s*\/\s*(?:result|partial|error)\b)/gi, '&lt;')
    .replaceAll(/<(?=(?:result|partial|error)\b)/g, '&lt;')
}
