/**
 * A plugin that tells how many bytes the objects on OpenCode's JavaScript heap have when its garbage is collected, to
 * whoever asks at the port that stands in the file of its options. What their strings and buffers hold is left out: of
 * the latter the host keeps more or fewer at hand, which would hide all else.
 */
import type { PluginModule } from '@opencode-ai/plugin'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Of Bun, which is what runs this; its types are not installed. */
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
