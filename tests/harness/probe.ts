/**
 * Logs each event and each call of the shared SDK client to a file, and runs posted JavaScript with `client` in scope,
 * to show what a plugin sees. OpenCode loads this file itself, so it imports only Node's modules, neighbours and types.
 */
import type { Plugin, PluginModule } from '@opencode-ai/plugin'
import { appendFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { MARK_HEADER } from './inside/protocol.ts'

/** One line of the probe's log. */
export type Sighting = { readonly at: number; readonly directory: string } & (
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'event'; readonly event: { readonly type: string; readonly properties: object } }
  | { readonly kind: 'call'; readonly method: string; readonly path: string }
  | { readonly kind: 'disposed' }
)

type Found = Sighting extends infer Each
  ? Each extends Sighting
    ? Omit<Each, 'at' | 'directory'>
    : never
  : never

const server: Plugin = async (input, options) => {
  const write = (found: Found): void => {
    const line = JSON.stringify({ at: Date.now(), directory: input.directory, ...found })
    appendFileSync(String(options?.['log']), line + '\n')
  }
  // All plugins of an instance share one client, so this also logs the calls of the plugins listed later.
  const { _client: shared } = input.client as unknown as { _client: SharedClient }
  shared.interceptors.request.use((request) => {
    if (!request.headers.has(MARK_HEADER))
      write({ kind: 'call', method: request.method, path: new URL(request.url).pathname })
    return request
  })

  const http = createServer((request, response) => {
    const run = async (): Promise<unknown> => {
      const code = await text(request)
      // The code is the test's own.
      const body = new Function('client', 'input', `return (async () => { ${code} })()`) as Posted
      return { value: await body(input.client, input) }
    }
    run()
      .catch((error: unknown) => ({ threw: String(error) }))
      .then((answer) => response.end(JSON.stringify(answer)))
      .catch(() => response.destroy())
  })
  write({ kind: 'ready', port: await listen(http) })

  return {
    event: async ({ event }) => write({ kind: 'event', event }),
    dispose: async () => {
      write({ kind: 'disposed' })
      http.close()
    },
  }
}

type Posted = (client: unknown, input: unknown) => Promise<unknown>

interface SharedClient {
  readonly interceptors: { readonly request: { use(intercept: (request: Request) => Request): void } }
}

async function listen(http: Server): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return (http.address() as AddressInfo).port
}

export default { id: 'probe', server } satisfies PluginModule
