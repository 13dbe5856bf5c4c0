/** Reads a run from the messages of its child session: its answer, usage and current activity. Pure. */
import type { Message, Part, StoredMessage } from '../../host/opencode.ts'
import { usedTogether, type Usage } from '../../task/state.ts'
import { usageOf } from './usage.ts'

export type AssistantMessage = Extract<Message, { role: 'assistant' }>

export interface AssistantTurn {
  readonly info: AssistantMessage
  readonly parts: readonly Part[]
}

/** A run, as its messages show it. */
export interface RunSummary {
  /**
   * The last text of the run, preceded by its final answers to earlier prompts, because the run may finish one before it
   * reads the next. '' if it has no text.
   */
  readonly text: string
  /** Whether the session's model has answered another message since the run ended. */
  readonly goesOn: boolean
  readonly usage: Usage
  /** The run's last activity. */
  readonly activity: Activity | undefined
}

export interface Transcript extends RunSummary {
  /** How many model calls were made for the run. */
  readonly steps: number
  /** Whether OpenCode has accepted a prompt of the run that it has not stored yet; the run then continues. */
  readonly isAwaiting: boolean
  /** Whether OpenCode has stored any prompt of the run. */
  readonly prompted: boolean
  /** Whether any model call was made for the run. */
  readonly begun: boolean
  /**
   * The last request of the run, and the assistant message that answers it: our newest prompt, or a message that
   * OpenCode inserts when the context is full (first a request for a summary, then one to continue).
   */
  readonly asked: 'prompt' | 'summary' | 'continuation'
  readonly answer: AssistantTurn | undefined
  /** The newest assistant message of the run, regardless of which message it answers. */
  readonly newest: AssistantTurn | undefined
}

export interface Activity {
  readonly what: string
  /** Milliseconds since the Unix epoch. */
  readonly at: number
}

/**
 * A message that reaches a child within this time after its turn was stopped or failed continues its run: a plugin that
 * falls back to another model sends it. No person is so fast.
 */
export const GOES_ON_WITHIN_MS = 300

/**
 * Reads a run: the messages from the first of `promptIDs` to the answer to the last of them, or to a message by which
 * another plugin has continued the run.
 */
export function readTranscript(messages: readonly StoredMessage[], promptIDs: readonly string[]): Transcript {
  const start = messages.findIndex((message) => promptIDs.includes(message.info.id))
  const run = start === -1 ? [] : messages.slice(start)
  const { asked, index } = lastAsked(run, [...promptIDs, ...goingOn(run)])
  const end = answerIndex(run, index)
  const until = answersIn(end === -1 ? run : run.slice(0, end + 1))
  const own = until.filter(({ info }) => !info.summary)
  const last = own.findLast(({ parts }) => textOf(parts) !== '')
  const earlier = answersIn(run.slice(0, index)).filter(
    (answer) => answer.info.id !== last?.info.id && isFinalAnswer(answer),
  )
  return {
    prompted: start !== -1,
    begun: until.length > 0,
    asked,
    answer: end === -1 ? undefined : until.at(-1),
    newest: until.at(-1),
    text: [...earlier, ...(last ? [last] : [])]
      .map(({ parts }) => textOf(parts))
      .filter((text) => text !== '')
      .join('\n\n'),
    goesOn: end !== -1 && answersIn(run.slice(end + 1)).some(({ info }) => !info.summary),
    steps: until.length,
    usage: usageOf(until),
    isAwaiting: promptIDs.slice(1).some((id) => !messages.some(({ info }) => info.id === id)),
    activity: activityIn(own),
  }
}

/** The assistant messages of a run before its newest one. */
export interface Totals {
  readonly usage: Usage
  /** Model calls. */
  readonly steps: number
  /** The last text; '' if there is none, `undefined` if it is not known. */
  readonly text: string | undefined
}

/** Reads a run of one prompt from the newest message of its session, if that is its answer. */
export function transcriptOfNewest(
  newest: StoredMessage | undefined,
  askedID: string,
  before: Totals,
): Transcript | undefined {
  if (newest?.info.role !== 'assistant') return undefined
  return transcriptOfAnswer({ info: newest.info, parts: newest.parts }, askedID, before)
}

/**
 * Reads a run of one prompt from its newest assistant message alone; `undefined` if that does not decide: it answers
 * another message, is not final, or has no text where no earlier text is known.
 *
 * @param askedID the prompt, or the message by which OpenCode continued the run
 */
export function transcriptOfAnswer(
  answer: AssistantTurn,
  askedID: string,
  before: Totals,
): Transcript | undefined {
  const { info, parts } = answer
  const text = textOf(parts) || before.text
  const isEnd = info.time.completed !== undefined && (info.error !== undefined || isFinalAnswer(answer))
  if (!isEnd || info.parentID !== askedID || text === undefined) return undefined
  return {
    prompted: true,
    begun: true,
    isAwaiting: false,
    asked: 'prompt',
    answer,
    newest: answer,
    text,
    goesOn: false,
    steps: before.steps + 1,
    usage: usedTogether([before.usage, usageOf([answer])]),
    activity: activityIn([answer]),
  }
}

/** Returns the ids of the user messages that soon follow a turn which was stopped or failed. */
function goingOn(run: readonly StoredMessage[]): string[] {
  const ids: string[] = []
  let stoppedAt = Number.NEGATIVE_INFINITY
  for (const { info, parts } of run) {
    if (info.role === 'assistant') {
      const isStopped = info.error !== undefined || info.finish === undefined
      stoppedAt =
        isStopped && info.time.completed !== undefined ? info.time.completed : Number.NEGATIVE_INFINITY
      continue
    }
    const laterMs = info.time.created - stoppedAt
    stoppedAt = Number.NEGATIVE_INFINITY
    // OpenCode itself continues with this message when the context is full.
    if (parts.some(({ type }) => type === 'compaction')) continue
    if (laterMs >= 0 && laterMs <= GOES_ON_WITHIN_MS) ids.push(info.id)
  }
  return ids
}

function answersIn(run: readonly StoredMessage[]): AssistantTurn[] {
  return run.flatMap(({ info, parts }): AssistantTurn[] =>
    info.role === 'assistant' ? [{ info, parts }] : [],
  )
}

/**
 * Finds the last request of a run. OpenCode summarises a full context and continues with a message of its own, unless
 * the final answer itself filled the context: that answer then counts.
 */
function lastAsked(
  run: readonly StoredMessage[],
  promptIDs: readonly string[],
): { readonly asked: Transcript['asked']; readonly index: number } {
  let asked: Transcript['asked'] = 'prompt'
  let index = 0
  for (const [position, { info, parts }] of run.entries()) {
    if (info.role !== 'user') continue
    if (promptIDs.includes(info.id)) asked = 'prompt'
    else if (parts.some((part) => part.type === 'compaction' && part.auto)) {
      const end = answerIndex(run.slice(0, position), index)
      if (answersIn(run.slice(end, end + 1)).some(isFinalAnswer)) continue
      asked = 'summary'
    } else if (asked === 'summary') asked = 'continuation'
    else continue
    index = position
  }
  return { asked, index }
}

/**
 * Returns the index of the answer to the message at `askedIndex`, or -1. Each step of a loop names the newest user
 * message that it has seen, so a step that names another does not answer ours. But if a person wrote in the child before
 * our prompt was answered, the loop continues under the name of that message, and its newest step answers both.
 */
function answerIndex(run: readonly StoredMessage[], askedIndex: number): number {
  const askedID = run[askedIndex]?.info.id
  const named = run.findLastIndex(({ info }) => info.role === 'assistant' && info.parentID === askedID)
  const [answer] = answersIn(run.slice(named, named + 1))
  if (named !== -1 && answer && !isToolStep(answer)) return named
  return run.findLastIndex(
    ({ info }, index) => info.role === 'assistant' && index > askedIndex && !info.summary,
  )
}

export function isFinalAnswer(answer: AssistantTurn): boolean {
  const { info } = answer
  return info.finish !== undefined && !info.error && !info.summary && !isToolStep(answer)
}

/** Whether the answer continues the loop: one with a tool call always does, whatever its finish is (contract 1.3b). */
export function isToolStep({ info, parts }: AssistantTurn): boolean {
  return (
    info.finish === 'tool-calls' || info.finish === 'unknown' || parts.some((part) => part.type === 'tool')
  )
}

export function textOf(parts: readonly Part[]): string {
  return parts
    .flatMap((part) => (part.type === 'text' && !part.ignored ? [part.text] : []))
    .join('\n')
    .trim()
}

/** The last activity in these messages. */
export function activityIn(turns: readonly AssistantTurn[]): Activity | undefined {
  return turns.flatMap(({ info, parts }) => parts.flatMap((part) => activityOf(info, part))).at(-1)
}

function activityOf(info: AssistantMessage, part: Part): Activity[] {
  switch (part.type) {
    case 'tool': {
      const { state } = part
      const title = 'title' in state && state.title ? ` ${state.title}` : ''
      return [{ what: `${part.tool}${title}`, at: 'time' in state ? state.time.start : info.time.created }]
    }
    case 'reasoning':
      return [{ what: 'thinking', at: part.time.end ?? part.time.start }]
    case 'text':
      return part.text === ''
        ? []
        : [{ what: 'writing', at: part.time?.end ?? part.time?.start ?? info.time.created }]
    default:
      return []
  }
}
