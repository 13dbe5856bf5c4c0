import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

/** Longer than the test, which advances the time itself. */
const POLL_MS = 120_000
let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { pollMs: POLL_MS } })
  await stage.fault('events are lost')
})
afterAll(() => stage.close())

test('without the event stream, the poll finds an end within two intervals, and it is reported once', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('be quiet')
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  release({ text: 'found by the poll' })
  await parent.childrenAreIdle()
  expect(parent.noticeTurns).toHaveLength(0)
  await stage.pass(2 * POLL_MS)
  await parent.waitForNotice('found by the poll')
  // The poll checks twice for the arrival of the notice, which is not sent again.
  await stage.pass(3 * POLL_MS)
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText.match(/found by the poll/g)).toHaveLength(1)
})

test('without the event stream, a cancel stops a running child', async () => {
  const parent = await stage.parent(() => new Promise(() => {}))
  const [id] = await parent.launch('hang')
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const answer = parent.call([{ name: 'background_cancel', args: { task_id: id } }])
  expect((await stage.passUntil(answer))[0]).toContain('was cancelled after')
  await stage.model.waitForRequest(
    (request) => request.parentSessionID === parent.id && request.outcome === 'closed',
  )
})
