/**
 * Serves a fleet's queue to workers in other processes over HTTP, so that a test can kill them: the queue stays in its own process.
 * A path is a verb, its body the arguments.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { Claims } from '../../src/fleet/port.ts'

type Observer = (verb: string, args: readonly unknown[], when: 'before' | 'after') => Promise<void>

export interface FleetServer {
  readonly url: string
  /** Called before and after a verb takes effect. The call fails if this rejects. */
  observe: Observer
  close(): Promise<void>
}

/** @param host on which it listens */
export async function serveFleet(claims: Claims, host = '127.0.0.1'): Promise<FleetServer> {
  const call = (verb: string, args: readonly unknown[]): Promise<unknown> => {
    const method = Reflect.get(claims, verb) as (...args: readonly unknown[]) => Promise<unknown>
    return method.apply(claims, [...args])
  }
  const served: { observe: Observer } = { observe: () => Promise.resolve() }
  const server = createServer((request, response) => {
    void (async () => {
      try {
        const args = (await json(request)) as unknown[]
        const verb = request.url?.slice(1) ?? ''
        await served.observe(verb, args, 'before')
        const answer = await call(verb, args)
        await served.observe(verb, args, 'after')
        response.end(JSON.stringify({ answer }))
      } catch (error) {
        response.statusCode = 500
        response.end(JSON.stringify({ error: String(error) }))
      }
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host}:${port}`,
    get observe() {
      return served.observe
    },
    set observe(observe) {
      served.observe = observe
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** How often a watcher looks, because this queue tells nobody. */
const WATCH_MS = 200
const CALL_LIMIT_MS = 5000

/** Returns the queue of a server. */
export function fleetAt(url: string): Claims {
  const call =
    (verb: string) =>
    async (...args: readonly unknown[]): Promise<never> => {
      const signal = AbortSignal.timeout(CALL_LIMIT_MS)
      const response = await fetch(`${url}/${verb}`, { method: 'POST', body: JSON.stringify(args), signal })
      const { answer, error } = (await response.json()) as { answer?: unknown; error?: string }
      if (error !== undefined) throw new Error(error)
      return answer as never
    }
  return {
    claim: call('claim'),
    payload: call('payload'),
    beat: call('beat'),
    settle: call('settle'),
    watch(onChange, signal) {
      const timer = setInterval(() => onChange({ type: 'offered' }), WATCH_MS)
      signal.addEventListener('abort', () => clearInterval(timer))
    },
  }
}
