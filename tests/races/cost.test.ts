import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('one task costs eight calls of the host from its launch to its answered notice, the next of its parent six', async () => {
  const { clock, host, launch, answer } = createFakeStage()
  const callsOf = async (name: string): Promise<string[]> => {
    const before = host.calls.length
    await launch(name)
    await clock.advance(100)
    answer(name)
    await clock.advance(2000)
    return host.calls.slice(before).map(({ method }) => method)
  }
  const always = ['createSession', 'prompt', 'messages', 'session', 'prompt', 'replaceMetadata']
  expect((await callsOf('first')).toSorted()).toEqual(['session', 'agents', ...always].toSorted())
  expect((await callsOf('second')).toSorted()).toEqual(always.toSorted())
})

test('while tasks run, one status call an interval serves them all, and no messages are read', async () => {
  const { clock, host, launch, answer } = createFakeStage({ pollMs: 5000 })
  const names = Array.from({ length: 8 }, (_, index) => `task ${index}`)
  for (const name of names) await launch(name)
  await clock.advance(100)
  const before = host.calls.length
  await clock.advance(20_000)
  expect(host.calls.slice(before).map(({ method }) => method)).toEqual(Array(4).fill('statuses'))
  for (const name of names) answer(name)
  await clock.advance(10_000)
  // Nothing runs and nothing is owed: nothing is asked, and no timer is left.
  const after = host.calls.length
  await clock.advance(60_000)
  expect(host.calls).toHaveLength(after)
  expect(clock.pending).toBe(0)
})
