import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('an end that a tool call has returned is not reported again after a crash', async () => {
  const stage = createFakeStage({ timeoutMs: 5000, notify: { debounceMs: 1000 } })
  const { clock, host, launch, answer, read, parentID } = stage
  const { id } = await launch('work')
  await clock.advance(2000)
  await launch('other')
  await launch('third')
  const reading = read(id, { timeoutMs: 60_000 })
  await clock.advance(2900)
  // The notice of a sibling waits in the debounce.
  answer('other')
  while (stage.manager.get(id)?.status !== 'failed') await clock.advance(10)
  expect((await reading).task).toMatchObject({ failure: { reason: 'timeout' } })
  // The parent's model has the result of its call, and answers.
  await clock.advance(300)
  stage.crash()
  await stage.manager.recover(parentID)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(stage.notices().filter((text) => text.includes(id))).toEqual([])
})

test('a returned cancel of the user is not reported again as an interruption after a crash', async () => {
  const stage = createFakeStage({ notify: { debounceMs: 1000 } })
  const { clock, host, launch, answer, read, parentID } = stage
  const { id, sessionID } = await launch('work')
  await launch('other')
  await launch('third')
  const reading = read(id, { timeoutMs: 60_000 })
  await clock.advance(100)
  void host.userAbort(sessionID)
  await clock.advance(1800)
  answer('other')
  while (stage.manager.get(id)?.status !== 'cancelled') await clock.advance(10)
  expect((await reading).task).toMatchObject({ status: 'cancelled', by: 'user' })
  await clock.advance(300)
  stage.crash()
  await stage.manager.recover(parentID)
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(stage.notices().filter((text) => text.includes(id))).toEqual([])
})
