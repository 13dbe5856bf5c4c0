/** What the messages of a child session say: its answer, what it has used, what it does just now. Pure. */
import type { Message, Part, StoredMessage } from '../opencode.ts'
import type { Usage } from '../task/task.ts'

type AssistantMessage = Extract<Message, { role: 'assistant' }>

export interface Answer {
  readonly info: AssistantMessage
  readonly parts: readonly Part[]
}

export interface Transcript {
  /** Whether the message that started the run is stored. */
  readonly prompted: boolean
  /** Whether any model call was made for the run. */
  readonly begun: boolean
  /**
   * What was asked last on behalf of the run, and the newest assistant message that answers it: the prompt, or what
   * the host put in when the context was full, first a request for a summary and then a message to go on from it.
   */
  readonly asked: 'prompt' | 'summary' | 'continuation'
  readonly answer: Answer | undefined
  /** The last text that the run has said, '' where it said nothing. */
  readonly text: string
  readonly usage: Usage
  /** What it did last, in a few words, and when. */
  readonly activity: Activity | undefined
}

export interface Activity {
  readonly what: string
  /** Milliseconds since the Unix epoch. */
  readonly at: number
}

/** Reads a run: what was stored from the message `promptID` on. */
export function readTranscript(messages: readonly StoredMessage[], promptID: string): Transcript {
  const start = messages.findIndex((message) => message.info.id === promptID)
  const run = start === -1 ? [] : messages.slice(start)
  const answers = run.flatMap(({ info, parts }): Answer[] =>
    info.role === 'assistant' ? [{ info, parts }] : [],
  )
  const own = answers.filter(({ info }) => !info.summary)
  const { asked, messageID } = lastAsked(run, promptID)
  return {
    prompted: start !== -1,
    begun: answers.length > 0,
    asked,
    // Every step of a loop names the user message that it answers as its parent; what answers somebody else's
    // message in the child says nothing about our run.
    answer: answers.findLast(({ info }) => info.parentID === messageID),
    text: own.map(({ parts }) => textOf(parts)).findLast((text) => text !== '') ?? '',
    usage: {
      toolCalls: answers.reduce(
        (sum, { parts }) => sum + parts.filter((part) => part.type === 'tool').length,
        0,
      ),
      tokens: answers.reduce((sum, { info }) => sum + tokensOf(info), 0),
      cost: answers.reduce((sum, { info }) => sum + info.cost, 0),
    },
    activity: own.flatMap(({ info, parts }) => parts.flatMap((part) => activityOf(info, part))).at(-1),
  }
}

/** Follows the host's own messages: a full context is summarised, and the message after that continues the run. */
function lastAsked(
  run: readonly StoredMessage[],
  promptID: string,
): { readonly asked: Transcript['asked']; readonly messageID: string } {
  let asked: Transcript['asked'] = 'prompt'
  let messageID = promptID
  for (const { info, parts } of run) {
    if (info.role !== 'user') continue
    if (parts.some((part) => part.type === 'compaction' && part.auto)) asked = 'summary'
    else if (asked === 'summary') asked = 'continuation'
    else continue
    messageID = info.id
  }
  return { asked, messageID }
}

export function textOf(parts: readonly Part[]): string {
  return parts
    .flatMap((part) => (part.type === 'text' && !part.ignored ? [part.text] : []))
    .join('\n')
    .trim()
}

function tokensOf({ tokens }: AssistantMessage): number {
  return tokens.input + tokens.output + tokens.reasoning + tokens.cache.read + tokens.cache.write
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
