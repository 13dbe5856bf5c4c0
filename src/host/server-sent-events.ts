/** Reads OpenCode's event stream (server-sent events): each event is a block of `data:` lines that hold its JSON. */
import type { Event } from '@opencode-ai/sdk/v2'

/** Passes each event to `onEvent`. Resolves at the end of the stream or at the abort, and rejects when it breaks. */
export async function readEvents(
  stream: ReadableStream<Uint8Array>,
  onEvent: (event: Event) => void,
  signal: AbortSignal,
): Promise<void> {
  const decoder = new TextDecoder()
  const reader = stream.getReader()
  const cancel = (): void => void reader.cancel().catch(() => {})
  // In Node, the signal of a request that was garbage-collected does not end its stream (seen).
  signal.addEventListener('abort', cancel)
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const text = decoder.decode(value, { stream: true })
      rest += text
      // The JSON of an event holds no line break, so that a long event is split only once.
      if (!text.includes('\n')) continue
      const blocks = rest.split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = block.split('\n').filter((line) => line.startsWith('data:'))
        if (data.length > 0) onEvent(JSON.parse(data.map((line) => line.slice(5)).join('\n')) as Event)
      }
    }
  } finally {
    signal.removeEventListener('abort', cancel)
    cancel()
  }
}
