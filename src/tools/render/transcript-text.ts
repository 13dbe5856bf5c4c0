/** Renders the messages of a child session. Pure. */
import { cutMiddle } from '../../text/format.ts'
import type { MessagePart, TaskMessage } from '../../host/message.ts'
import { errorText } from '../../host/opencode.ts'

const TITLE_BYTES = 200

export interface TranscriptOptions {
  /** The number of last messages; all by default. */
  readonly limit?: number | undefined
  readonly thinking: boolean
  readonly toolResults: boolean
}

/** Returns each message under a line that names its author. */
export function transcriptText(
  messages: readonly TaskMessage[],
  { limit = messages.length, thinking, toolResults }: TranscriptOptions,
): string {
  const shown = limit === 0 ? [] : messages.slice(-limit)
  const left = messages.length - shown.length
  const texts = shown.map((message) => messageText(message, { thinking, toolResults }))
  return [...(left > 0 ? ['[… earlier messages …]'] : []), ...texts].join('\n\n')
}

function messageText({ info, parts }: TaskMessage, options: Omit<TranscriptOptions, 'limit'>): string {
  const lines = parts.flatMap((part) => partLines(part, options))
  if (info.role === 'assistant' && info.error) lines.push(`[error: ${errorText(info.error)}]`)
  const who = info.role === 'assistant' ? 'agent' : isSynthetic(parts) ? 'OpenCode' : 'prompt'
  return [`── ${who} ──`, ...lines].join('\n')
}

function isSynthetic(parts: readonly MessagePart[]): boolean {
  return parts.every(
    (part) => part.type === 'compaction' || (part.type === 'text' && part.synthetic === true),
  )
}

function partLines(part: MessagePart, { thinking, toolResults }: Omit<TranscriptOptions, 'limit'>): string[] {
  switch (part.type) {
    case 'text':
      return part.ignored || part.text.trim() === '' ? [] : [part.text.trim()]
    case 'reasoning':
      return thinking && part.text.trim() !== '' ? [`[thinking] ${part.text.trim()}`] : []
    case 'tool': {
      const { state } = part
      const title = 'title' in state && state.title ? state.title : JSON.stringify(state.input)
      const head = `[tool ${part.tool} ${cutMiddle(title, TITLE_BYTES, () => '…')}: ${state.status}]`
      if (state.status === 'error') return [head, state.error]
      return toolResults && state.status === 'completed' ? [head, state.output] : [head]
    }
    case 'file':
      return [`[file ${part.filename ?? part.url}]`]
    case 'compaction':
      return ['[the context was full and has been summarised]']
    default:
      return []
  }
}
