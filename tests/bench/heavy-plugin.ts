/**
 * Gives children a tool whose results weigh 100 KB in their sessions, and measures how long OpenCode's event loop stands
 * still. The weight is in the result's metadata, as with diffs: the model does not read it.
 * OpenCode loads this file itself: it imports only Node's own modules and types.
 */
import type { PluginModule } from '@opencode-ai/plugin'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
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

/** The longest delay of OpenCode's event loop, in milliseconds. */
export interface Stall {
  readonly wallMs: number
  /** The most CPU time that its thread used between two turns; other processes do not count. NaN outside of Linux. */
  readonly cpuMs: number
}

const THREAD_USAGE = `/proc/self/task/${process.pid}/schedstat`
const isMeasured = existsSync(THREAD_USAGE)

/** The CPU time of the main thread so far (proc(5)). */
function threadMs(): number {
  return isMeasured ? Number.parseInt(readFileSync(THREAD_USAGE, 'utf8'), 10) / 1e6 : Number.NaN
}

export default {
  id: 'heavy',
  async server(_, options) {
    let last = performance.now()
    let lastCpu = threadMs()
    const none: Stall = { wallMs: 0, cpuMs: 0 }
    let longest = none
    setInterval(() => {
      const [now, cpu] = [performance.now(), threadMs()]
      longest = {
        wallMs: Math.max(longest.wallMs, now - last - TICK_MS),
        cpuMs: Math.max(longest.cpuMs, cpu - lastCpu),
      }
      last = now
      lastCpu = cpu
    }, TICK_MS)
    // Each request starts a new measurement, and is answered with the longest delay of the one before.
    const http = createServer((_request, response) => {
      response.end(JSON.stringify(longest))
      longest = none
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
