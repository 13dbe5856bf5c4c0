/** The rules of the fake host's loop: which message is asked, whether it is answered, which error a reply is. */
import type { Event, Message, StoredMessage } from '../../src/host/opencode.ts'
import type { Reply } from './script.ts'

export type UserMessage = Extract<Message, { role: 'user' }>
export type AssistantMessage = Extract<Message, { role: 'assistant' }>
export type Failure = NonNullable<Extract<Event, { type: 'session.error' }>['properties']['error']>
type ApiError = Extract<Failure, { name: 'APIError' }>

/** Returns the error with which the host reports an unexpected failure. */
export function unknownError(error: unknown): Failure {
  return { name: 'UnknownError', data: { message: error instanceof Error ? error.message : String(error) } }
}

/** Returns the newest by time, which a replay renews, not by place in the history (contract 4.14). */
export function newestUserMessage(stored: readonly StoredMessage[]): UserMessage | undefined {
  let newest: UserMessage | undefined
  for (const { info } of stored) {
    if (info.role !== 'user') continue
    if (newest === undefined || info.time.created >= newest.time.created) newest = info
  }
  return newest
}

/** Whether the loop ends. A tool call beside a terminal finish does not end it (contract 1.3b). */
export function isAnswered(stored: readonly StoredMessage[], asked: UserMessage): boolean {
  const last = stored.findLast(({ info }) => info.role === 'assistant')
  if (last?.info.role !== 'assistant' || last.info.parentID !== asked.id) return false
  if (last.info.finish === undefined || last.info.finish === 'tool-calls') return false
  return !last.parts.some((part) => part.type === 'tool')
}

/** Returns the assistant message that the host stores before it asks the model. */
export function newAnswer(id: string, created: number, asked: UserMessage): AssistantMessage {
  const { agent, sessionID } = asked
  const { variant, ...model } = asked.model
  return {
    id,
    sessionID,
    role: 'assistant',
    time: { created },
    parentID: asked.id,
    ...model,
    ...(variant !== undefined && { variant }),
    mode: agent,
    agent,
    path: { cwd: '/project', root: '/project' },
    cost: 0,
    tokens: { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } },
  }
}

/** Returns the error of a failing reply. */
export function failureOf({ status, text, headers = {}, cut }: Reply): ApiError | undefined {
  if (cut) return apiError({ message: 'Connection reset by server', isRetryable: true })
  if (status === undefined) return undefined
  const isRetryable = status === 429 || status >= 500
  const message = text ?? 'error'
  return apiError({ message, statusCode: status, isRetryable, responseHeaders: { ...headers } })
}

function apiError(data: ApiError['data']): ApiError {
  return { name: 'APIError', data }
}

/** Returns the delay before a retry. The real host adds up to a quarter at random, the fake nothing. */
export function backOffMs({ headers = {} }: Reply, attempt: number): number {
  if (headers['retry-after-ms'] !== undefined) return Number(headers['retry-after-ms'])
  if (headers['retry-after'] !== undefined) return Number(headers['retry-after']) * 1000
  return Math.min(2000 * 2 ** (attempt - 1), 30_000)
}
