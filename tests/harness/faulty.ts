/** A plugin, listed first, that makes the first notice of each parent go wrong in one of the ways in which sends do. */
import type { Hooks, PluginInput, PluginModule } from '@opencode-ai/plugin'

/** `fail`: the host refuses it. `hang`: the host never answers. `swallow`: it is taken over, and no turn follows. */
export type Fault = 'fail' | 'hang' | 'swallow'

interface SharedClient {
  readonly interceptors: {
    readonly request: { use(intercept: (request: Request) => Promise<Request>): void }
  }
}

export default {
  id: 'faulty',
  server(input: PluginInput, options?: Record<string, unknown>): Promise<Hooks> {
    const fault = String(options?.['fault']) as Fault
    const harmed = new Set<string>()
    const { _client: shared } = input.client as unknown as { _client: SharedClient }
    shared.interceptors.request.use(async (request) => {
      if (fault === 'swallow' || !request.url.includes('prompt_async') || harmed.has(request.url))
        return request
      if (!(await request.clone().text()).includes('<background_task ')) return request
      harmed.add(request.url)
      if (fault === 'hang') return new Promise(() => {})
      return new Request(request.url, { method: 'POST', headers: request.headers, body: '{"parts":7}' })
    })
    return Promise.resolve({
      'chat.message'({ sessionID }, { parts }) {
        const isNotice = parts.some((part) => part.type === 'text' && part.text.includes('<background_task '))
        if (fault !== 'swallow' || !isNotice || harmed.has(sessionID)) return Promise.resolve()
        harmed.add(sessionID)
        // Nothing is stored then, and the prompt was answered with 204 (contract 1.13).
        return Promise.reject(new Error('not today'))
      },
    })
  },
} satisfies PluginModule
