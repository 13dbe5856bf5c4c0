/**
 * Gives children a tool whose results weigh 100 KB in their sessions, and measures how long OpenCode's event loop stands
 * still. The weight is in the result's metadata, as with diffs: the model does not read it.
 * OpenCode loads this file itself: it imports only Node's own modules and types.
 */
import type { PluginModule } from '@opencode-ai/plugin'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export const WEIGHT_BYTES = 100_000
const TICK_MS = 1
/** Compresses to a sixth, as a program's output does: OpenCode compresses what it answers. */
const WEIGHT = Array.from(
  { length: WEIGHT_BYTES / 10 },
  (_, n) => `line ${((n * 7919) % 9973).toString(36)} of it`,
)
  .join('\n')
  .slice(0, WEIGHT_BYTES)

export default {
  id: 'heavy',
  async server(_, options) {
    let last = performance.now()
    let longestMs = 0
    setInterval(() => {
      const now = performance.now()
      longestMs = Math.max(longestMs, now - last - TICK_MS)
      last = now
    }, TICK_MS)
    // Each request starts a new measurement, and is answered with the longest delay of the one before.
    const http = createServer((_request, response) => {
      response.end(String(longestMs))
      longestMs = 0
    })
    await new Promise<void>((resolve) => {
      http.listen(0, '127.0.0.1', resolve)
    })
    writeFileSync(String(options?.['file']), String((http.address() as AddressInfo).port))
    return {
      tool: {
        bench_weight: {
          description: 'Makes the session heavier.',
          args: {},
          execute: () =>
            Promise.resolve({
              title: 'weight',
              output: 'ok',
              metadata: { weight: WEIGHT },
            }),
        },
      },
    }
  },
} satisfies PluginModule
