import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildPlugin, probePlugin } from '../harness/plugin.ts'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

const POLL_MS = 1000
const probe = probePlugin()
let stage: Stage

beforeAll(async () => {
  stage = await startStage({ plugins: [probe.spec, [await buildPlugin(), { pollMs: POLL_MS }]] })
})
afterAll(() => stage.close())

/** The calls that the plugins have made of the host so far. */
function calls(): string[] {
  return probe.sightings().flatMap((seen) => (seen.kind === 'call' ? [`${seen.method} ${seen.path}`] : []))
}

test('a task costs at most 9 calls of the host from its launch to its answered notice', async () => {
  const parent = await stage.parent(() => ({ text: 'cheap' }))
  const before = calls().length
  await parent.launch('be cheap')
  await parent.waitForNotice('cheap')
  await parent.quiet()
  await sleep(3 * POLL_MS)
  const made = calls().slice(before)
  expect(made.length).toBeGreaterThanOrEqual(5)
  expect(made.length).toBeLessThanOrEqual(9)
})

test('however many tasks run, they share one status call an interval, and nothing else is asked', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('one', 'two', 'three', 'four')
  await stage.model.waitForRequest(() => parent.childRequests.length === 4)
  const [before, at] = [calls().length, Date.now()]
  await sleep(5 * POLL_MS)
  const [made, intervals] = [calls().slice(before), (Date.now() - at) / POLL_MS]
  expect(new Set(made)).toEqual(new Set(['GET /session/status']))
  expect(made.length).toBeLessThanOrEqual(intervals + 1)
  release({ text: 'done' })
  await parent.waitForNotice('done')
  await parent.quiet()
  await sleep(3 * POLL_MS)
  const after = calls().length
  await sleep(3 * POLL_MS)
  // Nothing runs and nothing is owed: nothing is asked.
  expect(calls()).toHaveLength(after)
})
