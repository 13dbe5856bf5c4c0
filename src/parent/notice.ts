/** The text that a parent reads when its tasks have ended. Pure. */
import { cutMiddle, formatCost, formatDuration, formatTokens } from '../format.ts'
import { isPartOf } from '../task/id.ts'
import type { EndedTask, Task } from '../task/task.ts'

/** What a parent is owed: the end of one run, with what it said. */
export interface Notice {
  readonly task: EndedTask
  readonly text: string
}

const MESSAGE_BYTES = 16 * 1024
const ERROR_BYTES = 1024
/** How many ids the closing line holds. */
const NAMED = 1

/** What makes a notice the same notice, however often it is made. */
export function noticeKey({ task }: Pick<Notice, 'task'>): string {
  return `${task.id} ${task.run} ended`
}

/** The same for a notice that rides on a message of the user's. */
export function ridingKey(key: string): string {
  return `${key} with the user's message`
}

/** Whether a part of one of the parent's messages is the notice of this end, in whatever message. */
export function isNoticePart(partID: string, task: EndedTask): boolean {
  const key = noticeKey({ task })
  return isPartOf(partID, key) || isPartOf(partID, ridingKey(key))
}

/** One text for each notice of a message, each with its share of the room. */
export function noticeTexts(notices: readonly Notice[], inlineResultBytes: number): string[] {
  const room = Math.min(inlineResultBytes, Math.floor(MESSAGE_BYTES / notices.length))
  return notices.map((notice) => noticeText(notice, room))
}

/** The line that closes a message of notices, with the ids of what has not ended. */
export function closingText(unfinished: readonly string[]): string {
  const named = unfinished.slice(0, NAMED)
  const more = unfinished.length - named.length
  const rest =
    unfinished.length === 0
      ? 'No task of yours is running.'
      : `Still running: ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`
  return `[Automatic notice, not a message from the user. ${rest} More: background_output.]`
}

/** What a parent's model is to remember when its conversation is summed up. */
export function unfinishedText(tasks: readonly Task[]): string[] {
  if (tasks.length === 0) return []
  const lines = tasks.map((task) => `- ${task.id}, agent ${task.agent}: ${harmless(task.description)}`)
  const head =
    'Background tasks of this session that have not ended. A notice comes by itself for each. Keep their ids in the summary:'
  return [[head, ...lines].join('\n')]
}

function noticeText({ task, text }: Notice, room: number): string {
  const attributes = {
    id: task.id,
    run: String(task.run),
    agent: task.agent,
    status: task.status,
    duration: formatDuration(task.endedAt - (task.startedAt ?? task.endedAt)),
    tool_calls: String(task.usage.toolCalls),
    tokens: formatTokens(task.usage.tokens),
    cost: formatCost(task.usage.cost),
  }
  const head = Object.entries(attributes).map(([name, value]) => ` ${name}="${value.replace(/["<>]/g, '')}"`)
  return [
    `<background_task${head.join('')}>`,
    harmless(task.description),
    ...endLines(task),
    ...(text === '' ? emptyLines(task) : [`<result${partial(task)}>${shortened(task, text, room)}</result>`]),
    '</background_task>\n',
  ].join('\n')
}

function endLines(task: EndedTask): string[] {
  switch (task.status) {
    case 'completed':
      return []
    case 'failed':
      return [
        `<error reason="${task.failure.reason}">${shortened(task, task.failure.message, ERROR_BYTES)}</error>`,
      ]
    case 'cancelled':
      return [task.by === 'user' ? 'The user stopped it.' : 'It was cancelled.']
  }
}

function emptyLines(task: EndedTask): string[] {
  return task.status === 'completed' ? ['It used its tools and ended without a word.'] : []
}

function partial(task: EndedTask): string {
  return task.status === 'completed' ? '' : ' partial="true"'
}

function shortened(task: EndedTask, text: string, room: number): string {
  return cutMiddle(
    harmless(text),
    room,
    (bytes) => `[… ${bytes} bytes left out: background_output has all of "${task.id}" …]`,
  )
}

/** Text of a child cannot end its own notice, nor begin another. */
function harmless(text: string): string {
  return text.replace(/<(?=\s*\/?\s*(?:background_task|result|error)\b)/gi, '&lt;')
}
