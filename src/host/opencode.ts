/**
 * Wraps the calls of OpenCode that this plugin uses, as a port: unwraps `{ data, error }`, and limits the time of each
 * call, because OpenCode may never answer.
 *
 * The rest of the server part uses OpenCode only through this file and the host's types. The contract suite
 * (tests/contract) shows what each call does.
 */
import type { PluginInput } from '@opencode-ai/plugin'
import type {
  Agent,
  Message,
  Part,
  PermissionRequest,
  PermissionRuleset,
  Session,
  SessionStatus,
  Event,
} from '@opencode-ai/sdk/v2'
import type { Clock } from '../clock.ts'
import { readingMs } from '../text/format.ts'
import { readEvents } from './server-sent-events.ts'

export type {
  Agent,
  Event,
  Message,
  Part,
  PermissionRequest,
  PermissionRuleset,
  Session,
  SessionStatus,
} from '@opencode-ai/sdk/v2'

/** The client that OpenCode passes to a plugin. Only its parts are declared, because its types belong to one version. */
export interface Client {
  readonly app: object
  readonly config: object
  readonly session: object
  readonly tui: object
}

export interface NewSession {
  readonly parentID: string
  readonly title: string
  readonly permission: PermissionRuleset
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface TextPart {
  readonly id: string
  readonly text: string
  /** True for text that no person wrote: OpenCode's clients then do not show it as the user's. */
  readonly synthetic: boolean
}

export interface Prompt {
  /** Our own id, so that OpenCode stores the prompt once even if it is sent twice. Starts with `msg`. */
  readonly messageID: string
  /** Omitted: OpenCode switches the session to its default agent for good (contract 4.10). */
  readonly agent?: string
  /** Omitted: the agent's own model, else the session's. OpenCode does not keep the variant, so each prompt needs it. */
  readonly model?: { readonly providerID: string; readonly modelID: string; readonly variant?: string }
  /** A text that OpenCode appends to the system prompt of the turns that this message starts. */
  readonly system?: string
  readonly parts: readonly TextPart[]
}

export interface StoredMessage {
  readonly info: Message
  readonly parts: readonly Part[]
}

/** A configured provider, with its models by id. */
export interface Provider {
  readonly id: string
  readonly models: Readonly<Record<string, { readonly cost?: ModelCost }>>
}

/** US dollars for a million tokens. */
interface ModelCost {
  readonly input: number
  readonly output: number
}

/** Session id → status. Idle sessions are absent, and so are sessions that never started or are unknown. */
export type Statuses = Readonly<Record<string, SessionStatus>>

/** Every call rejects only with a `HostError`. */
export interface Opencode {
  agents(): Promise<readonly Agent[]>
  providers(): Promise<readonly Provider[]>
  /** The tools that the user reserves for primary agents (`experimental.primary_tools`). */
  primaryTools(): Promise<readonly string[]>
  /** The entries of the option `plugin`: a name or a path, or a pair of it and the plugin's options. */
  plugins(): Promise<readonly unknown[]>
  createSession(session: NewSession): Promise<Session>
  session(sessionID: string): Promise<Session>
  /** Returns the child sessions of a session. */
  children(sessionID: string): Promise<readonly Session[]>
  /** Replaces the whole metadata object of the session. */
  replaceMetadata(sessionID: string, metadata: Readonly<Record<string, unknown>>): Promise<void>
  /** Resolves when OpenCode has accepted the message, which does not prove that a turn follows. */
  prompt(sessionID: string, prompt: Prompt): Promise<void>
  /** Leaves a message for people, which no model answers or reads. */
  leaveMessage(sessionID: string, text: string): Promise<void>
  /** Resolves when the session's turn has stopped. Its children keep running. */
  abort(sessionID: string): Promise<void>
  /** Returns the open permission requests of all sessions, also of included directories. */
  permissions(): Promise<readonly PermissionRequest[]>
  /**
   * With a message, the model reads it and continues; without one its turn ends (contract 8.2).
   *
   * @param at the directory of its session, unless that is our own
   */
  rejectPermission(requestID: string, message?: string, at?: string): Promise<void>
  /**
   * Returns all messages of a session, the oldest first. The cost grows with their size.
   *
   * @param firstPage how many messages the first call asks for; by default few, because they show how large messages are
   */
  messages(sessionID: string, firstPage?: number): Promise<readonly StoredMessage[]>
  /** Returns the newest messages of a session, the oldest of them first. */
  newestMessages(sessionID: string, count: number): Promise<readonly StoredMessage[]>
  /** Returns the statuses of our directory and of included ones. */
  statuses(): Promise<Statuses>
  /**
   * Includes another directory, in which OpenCode has another instance (contract 9.1), in `statuses` and `permissions`, until
   * the function returned is called.
   */
  include(directory: string): () => void
  /** Moves an idle session to another directory of its project: its turns work there from now on (contract 17.1). */
  moveSession(sessionID: string, directory: string): Promise<void>
  /** Ends OpenCode's instance of another directory; the next call there makes another one (contract 9.2, 17.3). */
  endInstance(directory: string): Promise<void>
  /**
   * Passes the events of the directory to `onEvent`, in their order and beginning with `server.connected`. Resolves
   * when OpenCode ends the stream, or at the abort of `signal`. Rejects when the stream is refused, or has broken.
   *
   * @param at another directory than our own
   */
  events(onEvent: (event: Event) => void, signal: AbortSignal, at?: string): Promise<void>
  /** Opens and closes a terminal in this directory, so that OpenCode calls the hooks `shell.env` (e2e/command-rows). */
  callShellHooks(cwd: string): Promise<void>
  log(level: 'info' | 'warn', message: string): Promise<void>
  /** Shows a warning in the terminal UIs that are open. */
  warn(message: string): Promise<void>
}

/**
 * Why a call of OpenCode failed: `notFound` (the session does not exist), `unauthorized` (the server has a password, and
 * the client has none or a wrong one), `refused` (OpenCode answered with another error), `noAnswer` (OpenCode did not
 * answer within the limit, or could not be reached).
 */
export class HostError extends Error {
  readonly reason: 'notFound' | 'unauthorized' | 'refused' | 'noAnswer'

  constructor(reason: HostError['reason'], message: string) {
    super(message)
    this.name = 'HostError'
    this.reason = reason
  }
}

/** The result of the generated client. */
interface SdkResult<Data> {
  data?: Data | undefined
  error?: unknown
  response?: Response
}

interface RawClient {
  get(request: object): Promise<SdkResult<unknown>>
  post(request: object): Promise<SdkResult<unknown>>
}

const PLUGIN = 'opencode-background'
const CALL_LIMIT_MS = 15_000

/** Connects to OpenCode for one directory: each has its own sessions, statuses and events (contract 1.17). */
export function connect(
  given: Client,
  directory: string,
  clock: Clock,
  callLimitMs = CALL_LIMIT_MS,
): Opencode {
  const client = given as PluginInput['client']
  const query = { directory }
  /** Included directories; one can be included several times. */
  const included = new Set<{ readonly directory: string }>()
  const ofAll = <Data>(read: (at: { readonly directory: string }) => Promise<Data>): Promise<Data[]> =>
    Promise.all(
      [...new Set([query, ...included].map((each) => each.directory))].map((each) =>
        read({ directory: each }),
      ),
    )
  // The client has no methods for these endpoints, but its inner `_client` reaches all of them (contract 3.7).
  const { _client: raw } = client as unknown as { readonly _client: RawClient }
  async function call<Data>(
    name: string,
    run: (signal: AbortSignal) => Promise<SdkResult<Data>>,
  ): Promise<Data> {
    const controller = new AbortController()
    let stopTimer = (): void => {}
    const limit = new Promise<never>((_, reject) => {
      stopTimer = clock.after(callLimitMs, () => {
        reject(new HostError('noAnswer', `OpenCode did not answer ${name} within ${callLimitMs} ms`))
        controller.abort()
      })
    })
    try {
      const result = await Promise.race([run(controller.signal), limit])
      if (result.error !== undefined) throw refusal(name, result.error, result.response)
      return result.data as Data
    } catch (error) {
      if (error instanceof HostError) throw error
      throw new HostError('noAnswer', `OpenCode could not be reached for ${name}: ${errorText(error)}`)
    } finally {
      stopTimer()
    }
  }

  const newestMessages = (
    sessionID: string,
    count: number,
    firstPage = FIRST_PAGE,
  ): Promise<readonly StoredMessage[]> =>
    readPages(
      (page) =>
        call('session.messages', async (signal) => {
          const url = `/session/${sessionID}/message`
          // As text, to measure the size of a page.
          const result = await raw.get({ url, query: { ...query, ...page }, parseAs: 'text', signal })
          return { data: pageOf(result as SdkResult<string>) }
        }),
      count,
      firstPage,
    )

  return {
    agents: async () => {
      const agents = await call(
        'app.agents',
        (signal) => client.app.agents({ signal, query }) as Promise<SdkResult<Agent[]>>,
      )
      return agents.map(withoutNulls)
    },

    providers: async () => {
      const { providers } = await call('config.providers', (signal) =>
        client.config.providers({ signal, query }),
      )
      return providers
    },

    primaryTools: async () => {
      const { experimental } = await call('config.get', (signal) => client.config.get({ signal, query }))
      return experimental?.primary_tools ?? []
    },

    plugins: async () => {
      const { plugin = [] } = await call('config.get', (signal) => client.config.get({ signal, query }))
      return plugin
    },

    createSession: (body) =>
      // The v1 types have only parentID and title, but the server accepts and stores the rest (contract 3.1).
      call(
        'session.create',
        (signal) => client.session.create({ body, signal, query }) as Promise<SdkResult<Session>>,
      ),

    session: (sessionID) =>
      call(
        'session.get',
        (signal) =>
          client.session.get({ path: { id: sessionID }, signal, query }) as Promise<SdkResult<Session>>,
      ),

    children: (sessionID) =>
      call(
        'session.children',
        (signal) =>
          client.session.children({ path: { id: sessionID }, signal, query }) as Promise<
            SdkResult<Session[]>
          >,
      ),

    replaceMetadata: async (sessionID, metadata) => {
      const body = { metadata } as object
      await call('session.update', (signal) =>
        client.session.update({ path: { id: sessionID }, body, signal, query }),
      )
    },

    prompt: async (sessionID, { model, parts, ...rest }) => {
      const body = {
        ...rest,
        ...(model && { model: { providerID: model.providerID, modelID: model.modelID } }),
        ...(model?.variant !== undefined && { variant: model.variant }),
        parts: parts.map((part) => ({ type: 'text' as const, ...part })),
      }
      await call('session.promptAsync', (signal) =>
        client.session.promptAsync({ path: { id: sessionID }, body, signal, query }),
      )
    },

    leaveMessage: async (sessionID, text) => {
      const body = { noReply: true, parts: [{ type: 'text' as const, text, ignored: true }] }
      await call('session.prompt', (signal) =>
        client.session.prompt({ path: { id: sessionID }, body, signal, query }),
      )
    },

    abort: async (sessionID) => {
      await call('session.abort', (signal) =>
        client.session.abort({ path: { id: sessionID }, signal, query }),
      )
    },

    permissions: async () => {
      const requests = await ofAll((at) =>
        call('permission.list', (signal) => {
          const result = raw.get({ url: '/permission', query: at, signal })
          return result as Promise<SdkResult<PermissionRequest[]>>
        }),
      )
      return requests.flat()
    },

    rejectPermission: async (requestID, message, at = directory) => {
      const body = { reply: 'reject', ...(message !== undefined && { message }) }
      const headers = { 'content-type': 'application/json' }
      const url = `/permission/${requestID}/reply`
      await call('permission.reply', (signal) =>
        raw.post({ url, query: { directory: at }, body, headers, signal }),
      )
    },

    messages: (sessionID, firstPage) => newestMessages(sessionID, Infinity, firstPage),

    newestMessages: (sessionID, count) => newestMessages(sessionID, count),

    statuses: async () => {
      const statuses = await ofAll((at) =>
        call(
          'session.status',
          (signal) => client.session.status({ signal, query: at }) as Promise<SdkResult<Statuses>>,
        ),
      )
      return Object.assign({}, ...statuses) as Statuses
    },

    include: (other) => {
      const inclusion = { directory: other }
      included.add(inclusion)
      return () => included.delete(inclusion)
    },

    moveSession: async (sessionID, to) => {
      const body = { sessionID, destination: { directory: to } }
      const headers = { 'content-type': 'application/json' }
      const url = '/experimental/control-plane/move-session'
      await call('session.move', (signal) => raw.post({ url, query, body, headers, signal }))
    },

    endInstance: async (at) => {
      const request = { url: '/instance/dispose', query: { directory: at } }
      await call('instance.dispose', (signal) => raw.post({ ...request, signal }))
    },

    events: async (onEvent, signal, at = directory) => {
      try {
        // The client's own method retries without saying so, and does not return when the stream ends (contract 16.3).
        const request = { url: '/event', query: { directory: at }, signal, parseAs: 'stream' }
        const { data, error, response } = await raw.get(request)
        if (error !== undefined) throw refusal('event.subscribe', error, response)
        await readEvents(data as ReadableStream<Uint8Array>, onEvent, signal)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof HostError) throw error
        throw new HostError('noAnswer', `OpenCode's event stream broke: ${errorText(error)}`)
      }
    },

    callShellHooks: async (cwd) => {
      const body = { command: '/bin/sh', args: ['-c', ':'], cwd, title: PLUGIN }
      const { id } = await call('pty.create', (signal) => client.pty.create({ body, signal, query }))
      await call('pty.remove', (signal) => client.pty.remove({ path: { id }, signal, query }))
    },

    log: async (level, message) => {
      // OpenCode's log does not show `service`.
      const body = { service: PLUGIN, level, message: `${PLUGIN}: ${message}` }
      await call('app.log', (signal) => client.app.log({ body, signal, query }))
    },

    warn: async (message) => {
      const body = { title: PLUGIN, message, variant: 'warning' as const, duration: readingMs(message) }
      await call('tui.showToast', (signal) => client.tui.showToast({ body, signal, query }))
    },
  }
}

/** The number of messages in a page, and in the first page, which shows how large messages are. */
const PAGE = 16
const FIRST_PAGE = 2
/** The target size of a page, in characters: OpenCode does nothing else while it makes one. */
const PAGE_LENGTH = 1_000_000

interface Page {
  readonly messages: readonly StoredMessage[]
  readonly length: number
  /** The cursor of the page before; `undefined` for the oldest page. */
  readonly before: string | undefined
}

type Refused = Pick<SdkResult<never>, 'error' | 'response'>

function pageOf({ data = '[]', error, response }: SdkResult<string>): Page | Refused {
  if (error !== undefined) return { error, ...(response && { response }) }
  const before = response?.headers.get('x-next-cursor') ?? undefined
  return { messages: JSON.parse(data) as StoredMessage[], length: data.length, before }
}

/**
 * Lets the event loop turn once. OpenCode answers a plugin's calls in the plugin's own process, without such a turn, so that a
 * series of calls would block everything else.
 */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/**
 * Reads the newest messages of a session in pages, the newest page first; the size of each page decides how many messages the
 * next one has. OpenCode refuses a page with a message that fails its own schema check, which it makes of the last page alone
 * (seen): a refused page is halved until it is accepted.
 */
async function readPages(
  get: (page: { readonly limit: number; readonly before?: string }) => Promise<Page | Refused>,
  count: number,
  firstPage: number,
): Promise<readonly StoredMessage[]> {
  const messages: StoredMessage[] = []
  let most = Math.max(PAGE, firstPage)
  let limit = Math.min(firstPage, count)
  let before: string | undefined
  for (;;) {
    await nextTurn()
    const page = await get({ limit, ...(before !== undefined && { before }) })
    if ('messages' in page) {
      messages.unshift(...page.messages)
      before = page.before
      if (messages.length === count || before === undefined) return messages
      const light = Math.floor((PAGE_LENGTH * page.messages.length) / page.length)
      limit = Math.min(most, Math.max(1, light), count - messages.length)
    } else if (page.response?.status === 400 && limit > 1) {
      limit = Math.floor(limit / 2)
      most = limit
    }
    // The oldest message is the one that cannot be read.
    else if (page.response?.status === 400 && before !== undefined) return messages
    else throw refusal('session.messages', page.error, page.response)
  }
}

/**
 * OpenCode answers `null` for fields that an agent of the configuration lacks, which its types do not declare (contract 15.34).
 */
function withoutNulls(agent: Agent): Agent {
  return Object.fromEntries(Object.entries(agent).filter(([, value]) => value !== null)) as Agent
}

const UNAUTHORIZED = 'wrong or missing password. Give the client the header authorization'

function refusal(name: string, error: unknown, response: Response | undefined): HostError {
  if (response?.status === 401)
    return new HostError('unauthorized', `OpenCode refused ${name}: ${UNAUTHORIZED}`)
  const reason = response?.status === 404 ? 'notFound' : 'refused'
  return new HostError(reason, `OpenCode refused ${name}: ${errorText(error)}`)
}

/** Returns the text of an error of OpenCode, whose shapes vary (contract 3.4). */
export function errorText(error: unknown): string {
  if (typeof error === 'string') return error
  if (typeof error !== 'object' || error === null) return String(error)
  if ('data' in error && typeof error.data === 'object' && error.data !== null && 'message' in error.data) {
    return String(error.data.message)
  }
  if ('message' in error && typeof error.message === 'string') return error.message
  if ('name' in error) return String(error.name)
  return JSON.stringify(error)
}
