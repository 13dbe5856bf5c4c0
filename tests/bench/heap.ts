/**
 * Serves the bytes of the objects on OpenCode's JavaScript heap after a garbage collection, at a port that it
 * writes into the file of its options. Excludes the contents of strings and buffers, because OpenCode keeps a
 * varying number of spare buffers, which would hide all else.
 */
import type { PluginModule } from '@opencode-ai/plugin'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A module of Bun, which runs this plugin; its types are not installed. */
interface Jsc {
  fullGC(): void
  heapStats(): { readonly heapSize: number; readonly extraMemorySize: number }
}

export default {
  id: 'heap',
  async server(_input, options) {
    const name = 'bun:jsc'
    const jsc = (await import(name)) as Jsc
    const http = createServer((_request, response) => {
      jsc.fullGC()
      const { heapSize, extraMemorySize } = jsc.heapStats()
      response.end(String(heapSize - extraMemorySize))
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    writeFileSync(String(options?.['file']), String((http.address() as AddressInfo).port))
    return {
      dispose() {
        http.close()
        return Promise.resolve()
      },
    }
  },
} satisfies PluginModule
