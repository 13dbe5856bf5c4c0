/** The rules about answers that the fake host's loop goes by: what is asked, what answers it, what went wrong. */
import type { Event, Message, StoredMessage } from '../../src/host/opencode.ts'
import type { Reply } from './script.ts'

export type UserMessage = Extract<Message, { role: 'user' }>
export type AssistantMessage = Extract<Message, { role: 'assistant' }>
export type Failure = NonNullable<Extract<Event, { type: 'session.error' }>['properties']['error']>
type ApiError = Extract<Failure, { name: 'APIError' }>

/** The error under which the host reports what it did not foresee. */
export function unknownError(error: unknown): Failure {
  return { name: 'UnknownError', data: { message: error instanceof Error ? error.message : String(error) } }
}

/** The newest by its time, which a replay renews, not by its place in the history (contract 4.14). */
export function newestUserMessage(stored: readonly StoredMessage[]): UserMessage | undefined {
  let newest: UserMessage | undefined
  for (const { info } of stored) {
    if (info.role !== 'user') continue
    if (newest === undefined || info.time.created >= newest.time.created) newest = info
  }
  return newest
}

/** The loop's exit. A tool call beside a terminal finish does not end it (contract 1.3b). */
export function isAnswered(stored: readonly StoredMessage[], asked: UserMessage): boolean {
  const last = stored.findLast(({ info }) => info.role === 'assistant')
  if (last?.info.role !== 'assistant' || last.info.parentID !== asked.id) return false
  if (last.info.finish === undefined || last.info.finish === 'tool-calls') return false
  return !last.parts.some((part) => part.type === 'tool')
}

/** An assistant message as it is stored before the model is asked. */
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

/** The error of a reply that is one. */
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

/** How long until the next try. The real host adds up to a quarter at random; here time is exact. */
export function backOffMs({ headers = {} }: Reply, attempt: number): number {
  if (headers['retry-after-ms'] !== undefined) return Number(headers['retry-after-ms'])
  if (headers['retry-after'] !== undefined) return Number(headers['retry-after']) * 1000
  return Math.min(2000 * 2 ** (attempt - 1), 30_000)
}
