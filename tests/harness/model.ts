/**
 * A model that answers from a script: an OpenAI-compatible server on a free local port, with a log of its
 * requests. End-to-end tests assert on that log, which is what a real model would receive.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { flatten, sendError, sendReply, type CompletionBody } from './completion.ts'
import type { ModelRequest, Reply, Script } from './script.ts'
import { SpyLog, type WaitOptions } from './spy.ts'

export interface LoggedRequest extends ModelRequest {
  /** Milliseconds since the Unix epoch at arrival, by the clock of the test's process. */
  readonly at: number
  readonly raw: CompletionBody
  /** `answered`: sent in full, also an error or a cut. `closed`: the client disconnected before that. */
  readonly outcome: 'open' | 'answered' | 'closed'
  readonly endedAt?: number
  /** The number of open requests at its arrival, with itself. */
  readonly concurrency: number
}

export interface ScriptedModel {
  /** For the provider's `baseURL`. */
  readonly url: string
  /** Replaceable at any time; requests in progress use the old one. */
  script: Script
  /** All requests but those for a title, oldest first. */
  readonly requests: readonly LoggedRequest[]
  requestsOf(sessionID: string): readonly LoggedRequest[]
  /** Resolves with the first request that matches, past or future; checked again when its outcome changes. */
  waitForRequest(
    predicate: (request: LoggedRequest) => boolean,
    options?: WaitOptions,
  ): Promise<LoggedRequest>
  /** Ends open connections; requests still open keep the outcome `open`. */
  close(): Promise<void>
}

type OpenRequest = { -readonly [Field in keyof LoggedRequest]: LoggedRequest[Field] }

/**
 * Starts a model. The default script answers `ok` to everything.
 *
 * @param address of this machine, at which it listens
 */
export async function startModel(
  script: Script = () => ({ text: 'ok' }),
  address = '127.0.0.1',
): Promise<ScriptedModel> {
  const log = new SpyLog<OpenRequest>(describeRequest)
  let closing = false

  const server = createServer((request, response) => {
    // A reset by the client is not a failure of the test.
    response.on('error', () => {})
    void text(request).then(
      (body) => answer(request, response, JSON.parse(body) as CompletionBody),
      () => response.destroy(),
    )
  })

  // A request on a connection that is being closed fails, and OpenCode repeats it after 2 s (contract 1.6).
  server.keepAliveTimeout = 0

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    raw: CompletionBody,
  ): Promise<void> {
    if (isTitleRequest(raw)) {
      sendReply(response, raw.model, { text: 'A title' })
      return
    }
    const logged: OpenRequest = {
      sessionID: header(request, 'x-session-id') ?? '',
      parentSessionID: header(request, 'x-parent-session-id'),
      messages: raw.messages.map(({ role, content }) => ({ role, content: flatten(content) })),
      tools: (raw.tools ?? []).map((tool) => tool.function.name),
      model: raw.model,
      at: Date.now(),
      raw,
      outcome: 'open',
      concurrency: log.all.filter((earlier) => earlier.outcome === 'open').length + 1,
    }
    const end = (outcome: 'answered' | 'closed'): void => {
      if (closing || logged.outcome !== 'open') return
      logged.outcome = outcome
      logged.endedAt = Date.now()
      log.changed(logged)
    }
    response.on('finish', () => end('answered'))
    response.on('close', () => end('closed'))
    log.add(logged)

    const reply = await replyOf(model.script, logged)
    if (response.destroyed) return
    if (reply.cut) end('answered')
    if (reply.status !== undefined) sendError(response, reply.status, reply.text ?? 'error', reply.headers)
    else sendReply(response, raw.model, reply)
  }

  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  const model: ScriptedModel = {
    url: `http://${address}:${(server.address() as AddressInfo).port}/v1`,
    script,
    requests: log.all,
    requestsOf: (sessionID) => log.all.filter((request) => request.sessionID === sessionID),
    waitForRequest: (predicate, options) => log.waitFor(predicate, options),
    async close() {
      closing = true
      log.end('The scripted model was closed')
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
  return model
}

/** Runs the script. A throw fails its turn with that message: OpenCode does not retry a 400 (contract 1.5). */
async function replyOf(script: Script, request: ModelRequest): Promise<Reply> {
  try {
    return await script(request)
  } catch (error) {
    return { status: 400, text: `The test's script threw: ${String(error)}` }
  }
}

/** Whether a request is for a title. Its lack of tools is no proof: compactions and some agents have none either. */
function isTitleRequest(body: CompletionBody): boolean {
  return flatten(body.messages[0]?.content).startsWith('You are a title generator')
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}

function describeRequest(request: LoggedRequest): string {
  const { sessionID, parentSessionID, model, outcome, messages } = request
  const last = messages.at(-1)
  const parent = parentSessionID === undefined ? '' : ` (child of ${parentSessionID})`
  return `${sessionID}${parent} ${model} ${outcome}, ends in ${last?.role}: ${last?.content.slice(0, 80)}`
}
