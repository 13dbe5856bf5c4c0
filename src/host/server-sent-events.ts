/** Reads OpenCode's event stream (server-sent events): each event is a block of `data:` lines that hold its JSON. */
import type { Event } from '@opencode-ai/sdk/v2'

/** Passes each event to `onEvent`. Resolves at the end of the stream, and rejects when it breaks. */
export async function readEvents(
  stream: ReadableStream<Uint8Array>,
  onEvent: (event: Event) => void,
): Promise<void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of stream) {
    const text = decoder.decode(bytes, { stream: true })
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
}
