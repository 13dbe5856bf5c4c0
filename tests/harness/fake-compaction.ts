/**
 * Compacts a conversation that is too long for its model, as the fake host does it: stores a request for a
 * summary, then a continuation message, which the run answers.
 */
import type { Part, StoredMessage } from '../../src/host/opencode.ts'
import type { AssistantMessage, Failure } from './fake-answer.ts'
import type { ModelRequest, Reply } from './script.ts'

type ContextOverflow = Extract<Failure, { name: 'ContextOverflowError' }>
type NewPart = Partial<Part> & Pick<Part, 'type'>

/** Returns the overflow that the provider's error text names; the real host reads that text, too. */
export function overflowOf({ status, text = '' }: Reply): ContextOverflow | undefined {
  return status === 400 && text.includes('context length') ? overflow(text) : undefined
}

export function overflow(message: string): ContextOverflow {
  return { name: 'ContextOverflowError', data: { message } }
}

export const compactionPart: NewPart = { type: 'compaction', auto: true, overflow: true }

export function isCompactionRequest({ parts }: StoredMessage): boolean {
  return parts.some((part) => part.type === 'compaction')
}

export function asSummary(answer: AssistantMessage): AssistantMessage {
  return { ...answer, agent: 'compaction', mode: 'compaction', summary: true }
}

/** Returns the request for a summary, which has no tools and no parent. */
export function summaryRequest(request: ModelRequest): ModelRequest {
  const conversation = request.messages.slice(1).map(({ role, content }) => `[${role}]: ${content}`)
  return {
    ...request,
    parentSessionID: undefined,
    tools: [],
    messages: [
      { role: 'system', content: 'You are a context summarization agent.' },
      { role: 'user', content: `Here is the conversation so far:\n${conversation.join('\n')}` },
    ],
  }
}

/** Returns a copy of the message that overflowed; when it was the first, a text of the host. */
export function continuationParts(stored: readonly StoredMessage[]): NewPart[] {
  const asked = stored.filter((message) => message.info.role === 'user' && !isCompactionRequest(message))
  const [earlier, last] = asked.slice(-2)
  if (earlier !== undefined && last !== undefined) {
    return last.parts.map(({ id: _id, messageID: _messageID, sessionID: _sessionID, ...part }) => part)
  }
  const metadata = { compaction_continue: true }
  return [{ type: 'text', text: 'The conversation was compacted.', synthetic: true, metadata }]
}

/** Returns the messages that the model still sees: all since the newest answered request for a summary. */
export function sinceCompaction(stored: readonly StoredMessage[]): readonly StoredMessage[] {
  const summary = stored.findLast(({ info }) => info.role === 'assistant' && info.summary && !info.error)
  const start = stored.findIndex(
    ({ info }) => summary?.info.role === 'assistant' && info.id === summary.info.parentID,
  )
  return start === -1 ? stored : stored.slice(start)
}
