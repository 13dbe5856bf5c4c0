/** A plugin that wraps ours and stands between it and the host: what it is told to harm, goes wrong. */
import type { Hooks, PluginInput, PluginModule } from '@opencode-ai/plugin'
import { readFileSync } from 'node:fs'

/**
 * Calls of ours: of status and record all go wrong while the fault is set, of prompt and notice the first in each
 * session. A swallowed prompt is taken over by the host, and nothing of it is stored. `loses its answer`: the call takes
 * effect, and nobody is told.
 */
export type Fault =
  | 'none'
  | `${'status' | 'record'} ${'fails' | 'hangs'}`
  | `${'prompt' | 'notice'} ${'is refused' | 'hangs' | 'is swallowed' | 'loses its answer'}`
  | `events are ${'lost' | 'doubled' | 'out of order'}`

export interface FaultyOptions {
  /** The absolute path of the plugin's bundle. */
  readonly plugin: string
  readonly options: Record<string, unknown>
  /** The file that holds the fault of the moment. */
  readonly file: string
}

interface SharedClient {
  readonly interceptors: {
    readonly request: { use(intercept: (request: Request) => Promise<Request>): void }
    readonly response: { use(intercept: (response: Response, request: Request) => Promise<Response>): void }
  }
}

/** How late events arrive, in turn, in milliseconds. */
const DELAYS = [0, 60, 10, 150, 0, 30, 90]

const forever = (): Promise<never> => new Promise(() => {})

/** Which of our calls it is. */
async function nameOf(request: Request): Promise<'status' | 'record' | 'prompt' | 'notice' | 'other'> {
  const { pathname } = new URL(request.url)
  if (pathname.endsWith('/session/status')) return 'status'
  if (request.method === 'PATCH' && pathname.startsWith('/session/')) return 'record'
  if (!pathname.endsWith('/prompt_async')) return 'other'
  return (await request.clone().text()).includes('<background_task ') ? 'notice' : 'prompt'
}

export default {
  id: 'faulty',
  async server(input: PluginInput, options?: Record<string, unknown>): Promise<Hooks> {
    const { plugin, options: inner, file } = options as unknown as FaultyOptions
    const fault = (): Fault => readFileSync(file, 'utf8') as Fault
    const harmed = new Set<string>()
    const isFirst = (what: string): boolean => {
      const known = harmed.has(what)
      harmed.add(what)
      return !known
    }
    /** The newest message of ours in each session. */
    const sent = new Map<string, 'prompt' | 'notice'>()
    const { _client: shared } = input.client as unknown as { _client: SharedClient }
    shared.interceptors.request.use(async (request) => {
      const name = await nameOf(request)
      const set = fault()
      if (name === 'prompt' || name === 'notice')
        sent.set(new URL(request.url).pathname.split('/')[2] ?? '', name)
      if (set === `${name} fails`) throw new Error('the connection was reset')
      if (name === 'other' || !set.startsWith(name)) return request
      if (set.endsWith('hangs') && (name === 'status' || name === 'record' || isFirst(request.url)))
        return forever()
      if (set.endsWith('is refused') && isFirst(request.url))
        return new Request(request.url, { method: 'POST', headers: request.headers, body: '{"parts":7}' })
      return request
    })
    shared.interceptors.response.use((response, request) => {
      const loses = fault().endsWith('loses its answer') && request.url.includes('/prompt_async')
      return loses && isFirst(request.url) ? forever() : Promise.resolve(response)
    })

    const { default: wrapped } = (await import(plugin)) as { default: PluginModule }
    const hooks = await wrapped.server(input, inner)
    let count = 0
    return {
      ...hooks,
      async event(told) {
        const set = fault()
        if (set === 'events are lost') return
        if (set === 'events are out of order') {
          setTimeout(() => void hooks.event?.(told), DELAYS[count++ % DELAYS.length])
          return
        }
        await hooks.event?.(told)
        if (set === 'events are doubled') await hooks.event?.(told)
      },
      async 'chat.message'(message, output) {
        await hooks['chat.message']?.(message, output)
        // What a hook throws costs the host the message, of which it has said that it took it over (contract 1.13).
        if (fault() === `${sent.get(message.sessionID)} is swallowed` && isFirst(message.sessionID))
          throw new Error('not today')
      },
    }
  },
} satisfies PluginModule
