/** Formats numbers, lists, long texts and permission requests for people and models. Pure. */
import { nameForModel } from './sanitize.ts'
import type { PermissionRequested, Incomplete } from '../task/state.ts'

const SHORTEST_TOAST_MS = 5000
const LONGEST_TOAST_MS = 30_000
/** The reading time of a character. */
const READING_MS = 50

/** `0.4s`, `45.3s`, `1m 12s`, `2h 3m`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}m ${whole % 60}s`
  return `${Math.floor(minutes / 60)}h ${minutes % 60}m`
}

/** `950`, `18.2k`, `1.3M`. */
export function formatTokens(count: number): string {
  if (count < 1000) return String(count)
  if (count < 999_950) return `${(count / 1000).toFixed(1)}k`
  return `${(count / 1_000_000).toFixed(1)}M`
}

/** US dollars: `$0`, `$0.0004`, `$0.04`, `$1.20`. */
export function formatCost(dollars: number): string {
  if (dollars === 0) return '$0'
  if (dollars >= 0.01) return `$${dollars.toFixed(2)}`
  return `$${dollars.toPrecision(1)}`
}

/** `1 task`, `2 tasks`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Names the first `most` of several, as `a, b and 3 more`. `count`: how many there are, if `names` lacks some. */
export function listed(names: readonly string[], most: number, count = names.length): string {
  const first = names.slice(0, most)
  const more = count - first.length
  return `${first.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Returns how long to show a toast: the host's default of 5 s is too short for several sentences. */
export function readingMs(text: string): number {
  return Math.min(LONGEST_TOAST_MS, SHORTEST_TOAST_MS + READING_MS * text.length)
}

/** Formats permission requests on one line. */
export function formatAsked(
  permissionRequests: readonly Pick<PermissionRequested, 'permission' | 'patterns'>[],
): string {
  return nameForModel(
    permissionRequests.map(({ permission, patterns }) => [permission, ...patterns].join(' ')).join('; '),
  )
}

/**
 * Returns the line before the text of a completed run, which explains why the text is not a complete answer.
 * The text can be older than the answer that was cut off.
 */
export function incompleteText(incomplete: Incomplete, text: string): string {
  const hasText = text !== ''
  if (incomplete === 'noAnswer' && !hasText) return 'It ended without any text.'
  return `${INCOMPLETE[incomplete]} ${hasText ? 'Its last text:' : 'It wrote no text.'}`
}

/** Returns how to answer the question of a task. `sendTool`: the tool that sends a prompt to a task. */
export function howToAnswer(taskID: string, sendTool: string | undefined): string {
  return `It waits for an answer: send it ${byTool(taskID, sendTool)}. Ask your user first what only they can know.`
}

/** Returns how to continue a task. `sendTool`: the tool that sends a prompt to a task. */
export function howToContinue(taskID: string, sendTool: string | undefined): string {
  return `To continue it, send a prompt ${byTool(taskID, sendTool)}.`
}

function byTool(taskID: string, tool: string | undefined): string {
  return `${tool === undefined ? '' : `by ${tool} `}with task_id ${taskID}`
}

/** A sentence for each reason that a text is not a complete answer. */
export const INCOMPLETE: Readonly<Record<Incomplete, string>> = {
  noAnswer: 'It ended without a final answer.',
  length: "The model's output limit cut its answer off.",
  contentFilter: "The provider's content filter cut its answer off.",
  noEnd: 'Its answer has no normal end.',
  steps: "It stopped because it had used up its agent's steps.",
}

/**
 * Returns a text of at most `maxBytes` bytes of UTF-8. `marker` replaces the middle of a longer text, because
 * the beginning names the subject and the end the result.
 */
export function cutMiddle(text: string, maxBytes: number, marker: (leftOutBytes: number) => string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return text
  const half = Math.floor(maxBytes / 2)
  const head = decodeWhole(bytes.subarray(0, half))
  const tail = decodeWhole(bytes.subarray(bytes.length - half))
  return `${head}\n${marker(bytes.length - Buffer.byteLength(head) - Buffer.byteLength(tail))}\n${tail}`
}

/** Returns the default marker for `cutMiddle`. */
export function leftOut(bytes: number): string {
  return `[… ${bytes} bytes left out …]`
}

/** Decodes a slice of UTF-8 without the partial characters at its edges. */
function decodeWhole(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/^\uFFFD+|\uFFFD+$/g, '')
}
