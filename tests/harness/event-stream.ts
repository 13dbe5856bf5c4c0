/** Receives the events of one OpenCode directory from `GET /event`. */
import type { Event } from '@opencode-ai/sdk/v2'
import { SpyLog, type WaitOptions } from './spy.ts'

export interface EventStream {
  /** All events since the subscription, oldest first. */
  readonly all: readonly Event[]
  /** Resolves with the first event that matches, past or future. */
  waitFor(predicate: (event: Event) => boolean, options?: WaitOptions): Promise<Event>
  close(): void
}

/**
 * Subscribes, and resolves when the server has confirmed, so that no later event is missed. Reconnects when
 * the host ends the stream, as it does with an instance.
 */
export async function subscribe(
  url: string,
  directory: string,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const log = new SpyLog<Event>(describeEvent)
  const controller = new AbortController()
  const target = `${url}/event?directory=${encodeURIComponent(directory)}`
  const open = async (): Promise<AsyncIterable<Uint8Array>> => {
    const response = await fetch(target, { signal: controller.signal, headers })
    if (!response.ok || !response.body) throw new Error(`GET /event answered ${response.status}`)
    return response.body
  }
  const follow = async (body: AsyncIterable<Uint8Array>): Promise<never> => {
    await read(body, (event) => log.add(event))
    return follow(await open())
  }
  follow(await open()).catch((error: unknown) => log.end(`The event stream broke: ${String(error)}`))
  await log.waitFor((event) => event.type === 'server.connected', { description: 'server.connected' })
  return {
    all: log.all,
    waitFor: (predicate, options) => log.waitFor(predicate, options),
    close: () => controller.abort(),
  }
}

async function read(body: AsyncIterable<Uint8Array>, onEvent: (event: Event) => void): Promise<void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const blocks = (rest + decoder.decode(bytes, { stream: true })).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const data = block.split('\n').filter((line) => line.startsWith('data:'))
      if (data.length > 0) onEvent(JSON.parse(data.map((line) => line.slice(5)).join('\n')) as Event)
    }
  }
}

function describeEvent({ type, properties }: Event): string {
  return `${type} ${JSON.stringify(properties).slice(0, 160)}`
}
