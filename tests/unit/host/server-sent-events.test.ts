import { createOpencodeClient } from '@opencode-ai/sdk'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { connect } from '../../../src/host/calls.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

test('an event stream ends at its abort, also when its request was garbage-collected', async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"type":"server.connected","properties":{}}\n\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  try {
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const opencode = connect(createOpencodeClient({ baseUrl }), '/project', new ManualClock())
    const over = new AbortController()
    const types: string[] = []
    const stream = opencode.events(({ type }) => types.push(type), over.signal)
    await expect.poll(() => types).toEqual(['server.connected'])
    // What refers to the request is let go of in later turns.
    for (let turn = 0; turn < 5; turn += 1) {
      collect()
      await new Promise(setImmediate)
    }
    over.abort()
    await stream
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
