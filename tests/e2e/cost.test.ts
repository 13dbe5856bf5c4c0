import { afterAll, beforeAll, expect, test } from 'vitest'
import { probePlugin } from '../harness/plugin.ts'
import { heldReply, READ } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

/** Longer than the test, which advances the time itself. */
const POLL_MS = 60_000
const probe = probePlugin()
let stage: Stage

beforeAll(async () => {
  stage = await startStage({ before: [probe.spec], options: { pollMs: POLL_MS } })
})
afterAll(() => stage.close())

/** Returns the plugins' calls of the host so far. */
function calls(): string[] {
  return probe.sightings().flatMap((seen) => (seen.kind === 'call' ? [`${seen.method} ${seen.path}`] : []))
}

/** The calls of one task: create, prompt, read messages, record the end, read the parent, send the notice. */
const NEEDED = (parentID: string, sessionID: string): string[] => [
  'POST /session',
  `POST /session/${sessionID}/prompt_async`,
  `PATCH /session/${sessionID}`,
  `GET /session/${parentID}`,
  `POST /session/${parentID}/prompt_async`,
]

test('a task costs five calls from its launch to its answered notice, and none reads a message', async () => {
  const parent = await stage.parent(({ messages }) =>
    messages.filter(({ role }) => role === 'tool').length < 2
      ? READ
      : { text: `result of ${messages.find(({ role }) => role === 'user')?.content}` },
  )
  for (const name of ['be cheap', 'be as cheap']) {
    const before = calls().length
    await parent.launch(name)
    await parent.waitForNotice(`result of ${name}`)
    await parent.quiet()
    await stage.pass(3 * POLL_MS)
    // The plugin reads agents and configuration once, and all tasks share the poll.
    const made = calls()
      .slice(before)
      .filter((call) => !['GET /agent', 'GET /config', 'GET /session/status'].includes(call))
    const sessionID = /PATCH \/session\/(\w+)/.exec(made.join('\n'))?.[1] ?? ''
    expect(made.toSorted()).toEqual(NEEDED(parent.id, sessionID).toSorted())
  }
})

test('all running tasks share one status call an interval, and cause no other calls', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('one', 'two', 'three', 'four')
  await stage.model.waitForRequest(() => parent.childRequests.length === 4)
  await parent.quietBesidesChildren()
  const before = calls().length
  // A poll begins an interval after the answer to the last one, so that five take a little more than five intervals.
  await stage.pass(5.5 * POLL_MS)
  // A poll lists the permission requests when the last list is half a minute old.
  const perPoll = ['GET /session/status', 'GET /permission']
  expect(calls().slice(before)).toEqual(Array.from({ length: 5 }, () => perPoll).flat())
  release({ text: 'done' })
  await parent.waitForNotice('done')
  await parent.quiet()
  await stage.pass(3 * POLL_MS)
  const after = calls().length
  await stage.pass(3 * POLL_MS)
  // Without running tasks and pending notices there are no calls.
  expect(calls()).toHaveLength(after)
})

test('OpenCode compresses the messages of a session, unless it is asked not to (contract 15.35)', async () => {
  const { server } = stage
  const { id } = await server.createSession()
  await server.prompt(id, 'a long text '.repeat(1000), { noReply: true })
  const encodingOf = async (accepted: string): Promise<string | null> => {
    const url = `${server.url}/session/${id}/message?directory=${encodeURIComponent(server.directory)}`
    const response = await fetch(url, { headers: { 'accept-encoding': accepted } })
    expect((await response.text()).length).toBeGreaterThan(12_000)
    return response.headers.get('content-encoding')
  }
  expect(await encodingOf('gzip')).toBe('gzip')
  expect(await encodingOf('identity')).toBeNull()
})
