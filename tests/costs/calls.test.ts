import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('the second task of a session costs five calls, and the first task three more', async () => {
  const { clock, host, launch, answer } = createFakeStage()
  const callsOf = async (name: string): Promise<string[]> => {
    const before = host.calls.length
    await launch(name)
    await clock.advance(100)
    answer(name)
    await clock.advance(2000)
    return host.calls.slice(before).map(({ method }) => method)
  }
  // The record of the end waits for its notice, because only the notice is awaited.
  const always = ['createSession', 'prompt', 'session', 'prompt', 'replaceMetadata']
  expect(await callsOf('first')).toEqual(['session', 'agents', 'primaryTools', ...always])
  expect(await callsOf('second')).toEqual(always)
})

test('ten tasks that end together cost three calls each, and two more for their one notice', async () => {
  const { clock, host, launch, answerAll, notices } = createFakeStage()
  await launch('first')
  await clock.advance(100)
  answerAll()
  await clock.advance(2000)
  const before = host.calls.length
  for (let index = 0; index < 10; index += 1) await launch(`task ${index}`)
  await clock.advance(100)
  answerAll()
  await clock.advance(4000)
  const made = host.calls.slice(before).flatMap(({ method }) => (method === 'statuses' ? [] : [method]))
  const of = (method: string): string[] => Array<string>(10).fill(method)
  expect(made.toSorted()).toEqual(
    [...of('createSession'), ...of('prompt'), ...of('replaceMetadata'), 'session', 'prompt'].toSorted(),
  )
  expect(notices()).toHaveLength(11)
})

test('one status call per interval serves all running tasks, and no messages are read', async () => {
  const { clock, host, launch, answer } = createFakeStage({ pollMs: 5000 })
  const names = Array.from({ length: 8 }, (_, index) => `task ${index}`)
  for (const name of names) await launch(name)
  await clock.advance(100)
  const before = host.calls.length
  await clock.advance(20_000)
  expect(host.calls.slice(before).map(({ method }) => method)).toEqual(Array(4).fill('statuses'))
  for (const name of names) answer(name)
  await clock.advance(10_000)
  // No task runs and no notice is owed, so the plugin sends no calls.
  const after = host.calls.length
  await clock.advance(60_000)
  expect(host.calls).toHaveLength(after)
})

test('a session is searched for earlier tasks once, unless it was created just now', async () => {
  const { clock, host, parentID } = createFakeStage()
  const asked = (sessionID: string): number =>
    host.calls.filter((call) => call.method === 'children' && call.sessionID === sessionID).length
  const fresh = host.createRootSession().id
  const old = host.createRootSession().id
  await clock.advance(5)
  for (const text of ['hello', 'again']) {
    for (const sessionID of [parentID, fresh]) host.userPrompt(sessionID, text)
    await clock.advance(2000)
  }
  // It was created before this process observed it, so another process may have launched tasks there.
  expect(asked(parentID)).toBe(1)
  expect(asked(fresh)).toBe(0)
  // Since its creation another process may have launched tasks there, and have ended.
  await clock.advance(60_000)
  host.userPrompt(old, 'hello')
  await clock.advance(2000)
  expect(asked(old)).toBe(1)
})
