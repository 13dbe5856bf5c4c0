import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { faultyPlugin } from '../harness/plugin.ts'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

/** Long beside what the host itself needs from a prompt to the model's request, which is in what is measured. */
const POLL_MS = 3000
let stage: Stage

beforeAll(async () => {
  const plugin = await faultyPlugin({ pollMs: POLL_MS })
  plugin.set('events are lost')
  stage = await startStage({ plugins: [plugin.spec] })
})
afterAll(() => stage.close())

test('without the event stream, the poll finds the end within two intervals, and it is told once', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  await parent.launch('be quiet')
  const child = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  release({ text: 'found by the poll' })
  const told = await parent.waitForNotice('found by the poll')
  expect((told.at - (child.endedAt ?? Number.NaN)) / POLL_MS).toBeLessThan(2)
  // Long enough for the poll to look twice whether the notice has arrived, and not to send it again.
  await sleep(3 * POLL_MS)
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText.match(/found by the poll/g)).toHaveLength(1)
})

test('without the event stream, a running child can be cancelled all the same', async () => {
  const parent = await stage.parent(() => new Promise(() => {}))
  const [id] = await parent.launch('hang')
  await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  const [answer] = await parent.call([{ name: 'background_cancel', args: { task_id: id } }])
  expect(answer).toContain('was cancelled after')
  await stage.model.waitForRequest(
    (request) => request.parentSessionID === parent.id && request.outcome === 'closed',
  )
})
