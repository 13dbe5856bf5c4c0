/** Makes the calls of the port `opencode.ts` with the client that OpenCode passes to a plugin. */
import type { PluginInput } from '@opencode-ai/plugin'
import type { Clock } from '../clock.ts'
import { readingMs } from '../text/format.ts'
import { callsWithin, unlessAborted } from './limited-call.ts'
import { pageOf, readPages } from './message-pages.ts'
import {
  errorText,
  HostError,
  type Agent,
  type Client,
  type Opencode,
  type PermissionRequest,
  type Session,
  type Statuses,
  type StoredMessage,
} from './opencode.ts'
import { refusal, type SdkResult } from './sdk-result.ts'
import { readEvents } from './server-sent-events.ts'

interface RawClient {
  get(request: object): Promise<SdkResult<unknown>>
  post(request: object): Promise<SdkResult<unknown>>
}

const PLUGIN = 'opencode-background'
const CALL_LIMIT_MS = 15_000

/**
 * Connects to OpenCode for one directory: each has its own sessions, statuses and events (contract 1.17).
 *
 * @param isInside whether this process is OpenCode; messages are asked for uncompressed then, because compressing a page takes as long
 * as making it (contract 15.35)
 */
export function connect(
  given: Client,
  directory: string,
  clock: Clock,
  callLimitMs = CALL_LIMIT_MS,
  isInside = false,
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
  const call = callsWithin(callLimitMs, clock)

  const newestMessages = (
    sessionID: string,
    count: number,
    firstPage?: number,
  ): Promise<readonly StoredMessage[]> =>
    readPages(
      (page) =>
        call('session.messages', async (signal) => {
          const url = `/session/${sessionID}/message`
          // As text, to measure the size of a page.
          const headers = isInside ? { 'accept-encoding': 'identity' } : {}
          const result = await raw.get({
            url,
            query: { ...query, ...page },
            headers,
            parseAs: 'text',
            signal,
          })
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
        const { data, error, response } = await unlessAborted(raw.get(request), signal)
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

/**
 * OpenCode answers `null` for fields that an agent of the configuration lacks, which its types do not declare (contract 15.34).
 */
function withoutNulls(agent: Agent): Agent {
  return Object.fromEntries(Object.entries(agent).filter(([, value]) => value !== null)) as Agent
}
