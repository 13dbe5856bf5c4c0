/** Starts the real OpenCode server with a scripted model in its own home. */
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk'
import type { Event, Message, Part, Session, SessionStatus } from '@opencode-ai/sdk/v2'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageID as messageIDOf } from '../../src/task/id.ts'
import { subscribe, type EventStream } from './event-stream.ts'
import { createHome, environment, homeAt } from './home.ts'
import type { ScriptedModel } from './model.ts'
import { spawnServer } from './process.ts'
import { runningIn } from './processes.ts'
import { WAIT_LIMIT_MS, type WaitOptions } from './spy.ts'

export interface OpencodeOptions {
  /** The provider `mock` with the models `m1` (the default), `m2`, and `m3` with variants `low` and `high`. */
  readonly model: ScriptedModel
  /** As in `opencode.json`: a path, or a path with its options. */
  readonly plugins?: readonly (string | readonly [string, object])[]
  /** More providers by name, as in `opencode.json`. */
  readonly providers?: Readonly<Record<string, object>>
  /** More agents by name, as in `opencode.json`. */
  readonly agents?: Readonly<Record<string, object>>
  /** More keys of `opencode.json`; they override the defaults. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string>>
  /** The home of an earlier server that was stopped with `keepHome`. */
  readonly home?: string
  /** The words of a command that starts OpenCode; OpenCode's command line follows them. */
  readonly as?: readonly string[]
  /** The port to listen at; default: a free one. */
  readonly port?: number
  /** The address to listen at; default: 127.0.0.1. */
  readonly address?: string
  /** US dollars for a million tokens of any of the models. */
  readonly cost?: { readonly input: number; readonly output: number }
}

export interface PromptOptions {
  readonly agent?: string
  /** A model of the provider `mock`. */
  readonly model?: string
  readonly variant?: string
  readonly messageID?: string
  readonly noReply?: boolean
}

export interface StoredMessage {
  readonly info: Message
  readonly parts: readonly Part[]
}

/** One directory of a server. */
export interface Project {
  readonly directory: string
  /** A client of the directory. */
  readonly client: OpencodeClient
  /** Resolves with the answer of an endpoint that the client has no method for. */
  get(path: string): Promise<unknown>
  /** Accepts all fields of the server, more than the SDK's types have (contract 3.1). */
  createSession(session?: Readonly<Record<string, unknown>>): Promise<Session>
  /**
   * Resolves when the message is stored, or refused by a `session.error` (contract 1.12, 1.13), not when it is answered.
   */
  prompt(sessionID: string, text: string, options?: PromptOptions): Promise<void>
  messages(sessionID: string): Promise<readonly StoredMessage[]>
  /** Subscribes to the directory's events from now on. */
  subscribe(): Promise<EventStream>
  /**
   * Resolves with the messages once the newest user message has a finished answer and nothing runs. An idle
   * event alone does not prove that (contract, traps 1 to 3). A turn that stores no answer, such as that of
   * an unknown model (contract 1.12), needs a wait for its `session.error` instead.
   */
  waitForIdle(sessionID: string, options?: WaitOptions): Promise<readonly StoredMessage[]>
}

export interface OpencodeServer extends Project {
  readonly url: string
  readonly home: string
  readonly pid: number
  /** The events of the project since the start. */
  readonly events: EventStream
  /** stdout and stderr so far. */
  readonly output: string
  /** Resolves with the text of OpenCode's log files, complete up to this call. */
  log(): Promise<string>
  /** Returns another project of this server, with its own instance. */
  project(directory: string): Project
  /** Ends the process, and removes the home unless `keepHome`; resolves when both are done. */
  stop(options?: { readonly signal?: NodeJS.Signals; readonly keepHome?: boolean }): Promise<void>
}

const POLL_MS = 50
const GONE_WITHIN_MS = 15_000
const LOGGED_WITHIN_MS = 15_000
/** The longest wait for an idle, because an answer can be final some time after the last one (contract 1.5). */
const NET_MS = 300

/** Starts the real binary, and resolves when its plugins are loaded. */
export async function startOpencode(options: OpencodeOptions): Promise<OpencodeServer> {
  const home = options.home === undefined ? createHome() : homeAt(options.home)
  const { directory } = home
  writeFileSync(join(home.config, 'opencode.json'), JSON.stringify(configuration(options)))
  const server = await spawnServer(
    directory,
    { ...environment(home), ...options.env },
    options.as,
    options.port,
    options.address,
  )
  const { url, pid } = server
  const headers = authorization(options.env)
  const events = await subscribe(url, directory, headers).catch(async (error: unknown) => {
    await server.stop('SIGKILL')
    throw error
  })

  return {
    ...projectAt(url, directory, headers, events),
    url,
    home: home.path,
    pid,
    events,
    get output() {
      return server.output
    },
    async log() {
      // OpenCode answers a log call before the line is in the file, and writes the lines in the order of the calls.
      const mark = randomUUID()
      const body = { service: 'test', level: 'info' as const, message: mark }
      await createOpencodeClient({ baseUrl: url, directory, headers }).app.log({ body, throwOnError: true })
      const deadline = Date.now() + LOGGED_WITHIN_MS
      for (;;) {
        const text = logText(home.logs)
        if (text.includes(mark)) return text
        if (Date.now() > deadline) throw new Error(`OpenCode has not written the line ${mark} to its log`)
        await sleep(POLL_MS)
      }
    },
    project: (other) => projectAt(url, other, headers),
    async stop({ signal = 'SIGTERM', keepHome = false } = {}) {
      events.close()
      await server.stop(signal)
      if (keepHome) return
      await nothingRunsIn(home.path)
      rmSync(home.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    },
  }
}

function logText(directory: string): string {
  return readdirSync(directory)
    .toSorted()
    .map((file) => readFileSync(join(directory, file), 'utf8'))
    .join('')
}

/** Rejects when a process of this home outlives its server. */
async function nothingRunsIn(home: string): Promise<void> {
  const deadline = Date.now() + GONE_WITHIN_MS
  for (;;) {
    const left = runningIn(home)
    if (left.length === 0) return
    if (Date.now() > deadline) throw new Error(`Of the server in ${home} are left:\n  ${left.join('\n  ')}`)
    await sleep(POLL_MS)
  }
}

/** Returns the headers of requests to a server with a password. */
function authorization(env: OpencodeOptions['env'] = {}): Record<string, string> {
  const { OPENCODE_SERVER_PASSWORD: password, OPENCODE_SERVER_USERNAME: user = 'opencode' } = env
  if (password === undefined) return {}
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

function projectAt(
  url: string,
  directory: string,
  headers: Record<string, string>,
  events?: EventStream,
): Project {
  const client = createOpencodeClient({ baseUrl: url, directory, headers })

  async function messages(sessionID: string): Promise<readonly StoredMessage[]> {
    const { data } = await client.session.messages({ path: { id: sessionID }, throwOnError: true })
    return data as StoredMessage[]
  }

  return {
    directory,
    client,
    async get(path) {
      const response = await fetch(`${url}${path}?directory=${encodeURIComponent(directory)}`, { headers })
      return response.json() as Promise<unknown>
    },
    async createSession(session = {}) {
      const { data } = await client.session.create({ body: session, throwOnError: true })
      return data as object as Session
    },
    async prompt(sessionID, text, { model, ...rest } = {}) {
      const body = {
        messageID: messageIDOf(randomUUID(), Date.now()),
        parts: [{ type: 'text' as const, text }],
        ...(model !== undefined && { model: { providerID: 'mock', modelID: model } }),
        ...rest,
      }
      const heard = events ?? (await subscribe(url, directory, headers))
      const from = heard.all.length
      try {
        await client.session.promptAsync({ path: { id: sessionID }, body, throwOnError: true })
        // The host answers before it stores the message (seen).
        await heard.waitFor(
          ({ type, properties }) =>
            (type === 'message.updated' && properties.info.id === body.messageID) ||
            (type === 'session.error' && properties.sessionID === sessionID),
          { description: `the message "${text}" of the user`, from },
        )
      } finally {
        if (heard !== events) heard.close()
      }
    },
    messages,
    subscribe: () => subscribe(url, directory, headers),
    async waitForIdle(
      sessionID,
      { timeoutMs = WAIT_LIMIT_MS, description = `an answer in ${sessionID}` } = {},
    ) {
      const deadline = Date.now() + timeoutMs
      for (;;) {
        const from = events?.all.length ?? 0
        // Its events spare the host the requests below.
        if (isKnownBusy(sessionID)) await nextIdle(sessionID, from)
        // Read the status first, because a status that is read later can be that of a newer turn.
        const { data } = await client.session.status({ throwOnError: true })
        const running = (data as Record<string, SessionStatus>)[sessionID] !== undefined
        const stored = await messages(sessionID)
        if (!running && isAnswered(stored)) return stored
        if (Date.now() > deadline) {
          const infos = stored.map(({ info }) => `  ${JSON.stringify(info)}`).join('\n')
          throw new Error(`Not seen within ${timeoutMs} ms: ${description} (running: ${running})\n${infos}`)
        }
        await nextIdle(sessionID, from)
      }
    },
  }

  /** Whether the session is at work as the events tell. */
  function isKnownBusy(sessionID: string): boolean {
    const newest = events?.all.findLast(
      ({ type, properties }) => type === 'session.status' && properties.sessionID === sessionID,
    )
    return newest?.type === 'session.status' && newest.properties.status.type !== 'idle'
  }

  /** Resolves at the session's next idle or after `NET_MS`; without events, after `POLL_MS`. */
  async function nextIdle(sessionID: string, from: number): Promise<void> {
    if (!events) {
      await sleep(POLL_MS)
      return
    }
    const isIdle = ({ type, properties }: Event): boolean =>
      type === 'session.idle' && properties.sessionID === sessionID
    await events.waitFor(isIdle, { from, timeoutMs: NET_MS }).catch(() => {})
  }
}

function isAnswered(stored: readonly StoredMessage[]): boolean {
  const asked = stored.findLast(({ info }) => info.role === 'user')
  const answer = stored.findLast(({ info }) => info.role === 'assistant')?.info
  if (asked === undefined || answer?.role !== 'assistant') return false
  return answer.parentID === asked.info.id && answer.time.completed !== undefined
}

/** Returns the text of an `opencode.json`. */
export function configuration({
  model,
  plugins = [],
  providers = {},
  agents = {},
  config = {},
  cost,
}: OpencodeOptions): object {
  const shared = { tool_call: true, limit: { context: 200_000, output: 8_000 }, ...(cost && { cost }) }
  const variants = { low: { reasoningEffort: 'low' }, high: { reasoningEffort: 'high' } }
  return {
    $schema: 'https://opencode.ai/config.json',
    model: 'mock/m1',
    small_model: 'mock/m1',
    share: 'disabled',
    plugin: plugins,
    agent: agents,
    provider: {
      mock: {
        npm: '@ai-sdk/openai-compatible',
        name: 'Mock',
        options: { baseURL: model.url, apiKey: 'none' },
        models: { m1: shared, m2: shared, m3: { ...shared, reasoning: true, variants } },
      },
      ...providers,
    },
    ...config,
  }
}
