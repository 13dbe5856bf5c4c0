import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { connect } from '../../../src/host/calls.ts'
import type { Client } from '../../../src/host/opencode.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

/**
 * Returns a client whose host validates the messages of a full list and of the last page alone, as OpenCode
 * does; the `broken` messages fail this check.
 */
function client(
  count: number,
  broken: ReadonlySet<number>,
  weight: (index: number) => number = () => 0,
): { client: Client; calls: () => number; longest: () => number; encodings: () => readonly unknown[] } {
  const stored = Array.from({ length: count }, (_, index) => ({
    info: { id: `msg_${index}` },
    parts: [{ output: 'x'.repeat(weight(index)) }],
  }))
  let calls = 0
  const encodings: unknown[] = []
  let longest = 0
  const answer = (from: number, to: number, isChecked: boolean): object => {
    calls += 1
    const isBad = isChecked && [...broken].some((index) => index >= from && index < to)
    const headers = new Headers(from > 0 ? { 'x-next-cursor': `${from}` } : {})
    if (isBad) return { error: { name: 'BadRequest' }, response: new Response('', { status: 400 }) }
    const data = JSON.stringify(stored.slice(from, to))
    longest = Math.max(longest, data.length)
    return { data, response: new Response('', { headers }) }
  }
  return {
    client: {
      _client: {
        get({ query, headers }: { query: { limit: number; before?: string }; headers: object }) {
          encodings.push({ ...headers })
          const to = Number(query.before ?? count)
          const from = Math.max(0, to - query.limit)
          return Promise.resolve(answer(from, to, from === 0))
        },
      },
    } as unknown as Client,
    calls: () => calls,
    longest: () => longest,
    encodings: () => encodings,
  }
}

const ids = async (of: Client): Promise<readonly string[]> =>
  (await connect(of, '/project', new ManualClock()).messages('ses_1')).map(({ info }) => info.id)

test.each([1, 3, 16, 17, 64, 300])(
  'R14: all of %i messages are read, whichever of them OpenCode cannot list',
  async (count) => {
    const all = Array.from({ length: count }, (_, index) => `msg_${index}`)
    for (const broken of [1, Math.floor(count / 2), count - 1].filter(
      (index) => index > 0 && index < count,
    )) {
      const host = client(count, new Set([broken]))
      expect(await ids(host.client)).toEqual(all)
      expect(host.calls()).toBeLessThanOrEqual(Math.ceil(count / 16) + 10)
    }
  },
)

test('R14: an unreadable oldest message does not prevent the read of the others', async () => {
  expect(await ids(client(70, new Set([0])).client)).toEqual(
    Array.from({ length: 69 }, (_, index) => `msg_${index + 1}`),
  )
})

test('R14: the error of OpenCode is reported when no message can be read', async () => {
  await expect(ids(client(1, new Set([0])).client)).rejects.toThrow(
    'OpenCode refused session.messages: BadRequest',
  )
})

test('the newest messages of a session are read in as few pages as they need', async () => {
  const host = client(300, new Set())
  const opencode = connect(host.client, '/project', new ManualClock())
  expect((await opencode.newestMessages('ses_1', 1)).map(({ info }) => info.id)).toEqual(['msg_299'])
  expect(host.calls()).toBe(1)
  const twenty = await opencode.newestMessages('ses_1', 20)
  expect(twenty.map(({ info }) => info.id)).toEqual(
    Array.from({ length: 20 }, (_, index) => `msg_${280 + index}`),
  )
  expect(host.calls()).toBe(5)
})

test.each([
  { weight: 100, pages: 4 },
  { weight: 100_000, pages: 5 },
  { weight: 1_500_000, pages: 29 },
])('30 messages of $weight characters are read in $pages pages', async ({ weight, pages }) => {
  const host = client(30, new Set(), () => weight)
  expect(await ids(host.client)).toHaveLength(30)
  expect(host.calls()).toBe(pages)
  // The first page has two messages of unknown weight.
  expect(host.longest()).toBeLessThan(Math.max(1_000_000, 2 * weight) + 10_000)
})

test('the pages of a session grow by steps, because heavy messages may come before light ones', async () => {
  const host = client(40, new Set(), (index) => (index < 38 ? 1_000_000 : 100))
  expect(await ids(host.client)).toHaveLength(40)
  expect(host.longest()).toBeLessThan(4_010_000)
})

test('inside of OpenCode, the messages come uncompressed', async () => {
  const host = client(1, new Set())
  const [clock, limitMs] = [new ManualClock(), 1000]
  await connect(host.client, '/project', clock, limitMs, true).messages('ses_1')
  await connect(host.client, '/project', clock, limitMs).messages('ses_1')
  expect(host.encodings()).toEqual([{ 'accept-encoding': 'identity' }, {}])
})

test('an answer without a cursor is the last page', async () => {
  let calls = 0
  const bare = {
    _client: {
      get: () => {
        calls += 1
        return Promise.resolve({ data: JSON.stringify([{ info: { id: 'msg_0' }, parts: [] }]) })
      },
    },
  } as unknown as Client
  expect(await ids(bare)).toEqual(['msg_0'])
  expect(calls).toBe(1)
})

test('the statuses and permission requests of included directories come with those of the own one', async () => {
  const asked: string[] = []
  const answer = (name: string, { query }: { query: { directory: string } }): object => {
    asked.push(`${name} ${query.directory}`)
    return { data: name === 'status' ? { [`ses_${query.directory}`]: { type: 'busy' } } : [query.directory] }
  }
  const opencode = connect(
    {
      session: { status: (request: never) => Promise.resolve(answer('status', request)) },
      _client: { get: (request: never) => Promise.resolve(answer('permission', request)) },
    } as unknown as Client,
    '/own',
    new ManualClock(),
  )
  // Two runs in one tree, one after another, may overlap for a moment.
  const [exclude, excludeAgain] = [opencode.include('/tree'), opencode.include('/tree')]
  expect(Object.keys(await opencode.statuses())).toEqual(['ses_/own', 'ses_/tree'])
  exclude()
  exclude()
  expect(await opencode.permissions()).toEqual(['/own', '/tree'])
  excludeAgain()
  expect(Object.keys(await opencode.statuses())).toEqual(['ses_/own'])
  expect(asked).toEqual(['status /own', 'status /tree', 'permission /own', 'permission /tree', 'status /own'])
})

test('what an agent of the configuration lacks is absent, although OpenCode answers null', async () => {
  const data = [{ name: 'writer', mode: 'subagent', steps: null, variant: null, options: {} }]
  const agents = (): Promise<object> => Promise.resolve({ data })
  const of = { app: { agents }, _client: {} } as unknown as Client
  expect(await connect(of, '/project', new ManualClock()).agents()).toEqual([
    { name: 'writer', mode: 'subagent', options: {} },
  ])
})

test('an event stream ends at its abort, also where the request never does', async () => {
  const deaf = { _client: { get: () => new Promise(() => {}) } } as unknown as Client
  const over = new AbortController()
  const stream = connect(deaf, '/project', new ManualClock()).events(() => {}, over.signal)
  over.abort()
  await expect(stream).resolves.toBeUndefined()
})

test('an event stream that is answered after its abort is cancelled', async () => {
  let answer: (result: object) => void = () => {}
  const late = { _client: { get: () => new Promise((resolve) => (answer = resolve)) } } as unknown as Client
  const over = new AbortController()
  const stream = connect(late, '/project', new ManualClock()).events(() => {}, over.signal)
  over.abort()
  await stream
  const wasCancelled = new Promise<void>((cancel) => {
    answer({ data: new ReadableStream({ cancel: () => cancel() }) })
  })
  await expect(wasCancelled).resolves.toBeUndefined()
})

test('an event stream that ends leaves no listener at its signal', async () => {
  const data = new ReadableStream({ start: (controller) => controller.close() })
  const brief = { _client: { get: () => Promise.resolve({ data }) } } as unknown as Client
  const { signal } = new AbortController()
  const stream = connect(brief, '/project', new ManualClock()).events(() => {}, signal)
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  await stream
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
})
