import { afterAll, beforeAll, expect, test } from 'vitest'
import { probePlugin } from '../harness/plugin.ts'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

/** Long beside what the test itself takes: that it is over, the test says. */
const POLL_MS = 60_000
const probe = probePlugin()
let stage: Stage

beforeAll(async () => {
  stage = await startStage({ before: [probe.spec], options: { pollMs: POLL_MS } })
})
afterAll(() => stage.close())

/** The calls that the plugins have made of the host so far. */
function calls(): string[] {
  return probe.sightings().flatMap((seen) => (seen.kind === 'call' ? [`${seen.method} ${seen.path}`] : []))
}

/** What one task needs: its session, its prompt, its messages, its end in the record, and the parent's state and message. */
const NEEDED = (parentID: string, sessionID: string): string[] => [
  'POST /session',
  `POST /session/${sessionID}/prompt_async`,
  `GET /session/${sessionID}/message`,
  `PATCH /session/${sessionID}`,
  `GET /session/${parentID}`,
  `POST /session/${parentID}/prompt_async`,
]

test('a task costs six calls of the host from its launch to its answered notice', async () => {
  const parent = await stage.parent(() => ({ text: 'cheap' }))
  for (const name of ['be cheap', 'be as cheap']) {
    const before = calls().length
    await parent.launch(name)
    await parent.waitForNotice('cheap')
    await parent.quiet()
    await stage.pass(3 * POLL_MS)
    // Agents and configuration are asked for once. The poll is shared.
    const made = calls()
      .slice(before)
      .filter((call) => !['GET /agent', 'GET /config', 'GET /session/status'].includes(call))
    const sessionID = /\/session\/(\w+)\/message/.exec(made.join('\n'))?.[1] ?? ''
    expect(made.toSorted()).toEqual(NEEDED(parent.id, sessionID).toSorted())
  }
})

test('however many tasks run, they share one status call an interval, and nothing else is asked', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('one', 'two', 'three', 'four')
  await stage.model.waitForRequest(() => parent.childRequests.length === 4)
  await parent.quietBesidesChildren()
  const before = calls().length
  await stage.pass(5 * POLL_MS)
  // The requests for permission are listed along with every poll that is half a minute after the last time.
  const perPoll = ['GET /session/status', 'GET /permission']
  expect(calls().slice(before)).toEqual(Array.from({ length: 5 }, () => perPoll).flat())
  release({ text: 'done' })
  await parent.waitForNotice('done')
  await parent.quiet()
  await stage.pass(3 * POLL_MS)
  const after = calls().length
  await stage.pass(3 * POLL_MS)
  // Nothing runs and nothing is owed: nothing is asked.
  expect(calls()).toHaveLength(after)
})
