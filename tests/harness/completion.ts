/** The wire form of a chat completion: the provider's request, and the stream that it expects. */
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ModelRequest, Reply } from './script.ts'

/** The fields of a chat-completions request that the harness reads. */
export interface CompletionBody {
  readonly model: string
  readonly stream?: boolean
  readonly messages: readonly { readonly role: Role; readonly content?: unknown }[]
  readonly tools?: readonly {
    readonly function: { readonly name: string; readonly description?: string; readonly parameters: unknown }
  }[]
  readonly [field: string]: unknown
}

type Role = ModelRequest['messages'][number]['role']

/** Returns the text of a content: a string, a list of parts, or absent (an assistant's bare tool call). */
export function flatten(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part: { text?: unknown }) => (typeof part.text === 'string' ? part.text : '')).join('')
}

/** Answers with a provider error. OpenCode ends the turn on 400 and 401, and retries 429 and 5xx (contract 1.5, 1.6). */
export function sendError(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Reply['headers'] = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ error: { message, type: 'scripted_error' } }))
}

/** Streams one answer. `cut` breaks the connection after the text, with no finish reason. */
export function sendReply(response: ServerResponse, model: string, reply: Reply): void {
  const { text, reasoning, tools = [], cut = false } = reply
  const id = `chatcmpl-${callCount++}`
  const chunk = (delta: object, finish: string | null = null, extra: object = {}): void => {
    const choices = [{ index: 0, delta, finish_reason: finish }]
    response.write(
      `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', model, choices, ...extra })}\n\n`,
    )
  }

  response.writeHead(200, { 'content-type': 'text/event-stream', ...reply.headers })
  chunk({ role: 'assistant' })
  // Send two pieces, so that a reader of the first delta alone fails.
  for (const piece of halves(reasoning)) chunk({ reasoning_content: piece })
  for (const piece of halves(text)) chunk({ content: piece })
  tools.forEach(({ name, args }, index) => {
    const call = { index, id: `call_${callCount++}`, type: 'function' }
    chunk({ tool_calls: [{ ...call, function: { name, arguments: JSON.stringify(args) } }] })
  })
  if (cut) {
    // Delay the cut, otherwise the client sees the broken connection before it reads the text (seen).
    const moment = cut === true ? sleep(CUT_AFTER_MS) : cut
    void moment.then(() => response.socket?.end())
    return
  }
  const finish = reply.finish ?? (tools.length > 0 ? 'tool_calls' : 'stop')
  const used = reply.promptTokens ?? 10
  chunk({}, finish, { usage: { prompt_tokens: used, completion_tokens: 5, total_tokens: used + 5 } })
  response.end('data: [DONE]\n\n')
}

const CUT_AFTER_MS = 50

/** Makes ids unique in the process, because OpenCode keys tool parts by the call's id. */
let callCount = 1

function halves(text: string | undefined): string[] {
  if (!text) return []
  const middle = Math.ceil(text.length / 2)
  return [text.slice(0, middle), text.slice(middle)].filter((piece) => piece !== '')
}
