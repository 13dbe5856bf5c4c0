import { expect, test } from 'vitest'
import { Repeats } from '../../../src/tools/repeats.ts'

const step = { sessionID: 'ses_1', messageID: 'msg_1' }

const RETRY = { type: 'retry', attempt: 1, message: 'broken', next: 0 } as const

function counted(): {
  readonly repeats: Repeats
  readonly make: (args?: object, of?: typeof step) => Promise<unknown>
} {
  const repeats = new Repeats()
  let made = 0
  const make = (args = {}, of = step): Promise<unknown> =>
    repeats.once('background_task', args, of, () => Promise.resolve(`task ${(made += 1)}`))
  return { repeats, make }
}

test('two equal calls in one answer both run', async () => {
  const { make } = counted()
  expect([await make(), await make()]).toEqual(['task 1', 'task 2'])
})

test('after a retry, Repeats returns the result of each earlier call, and runs further calls', async () => {
  const { repeats, make } = counted()
  await make()
  await make()
  repeats.observeStatus('ses_1', RETRY)
  expect([await make(), await make(), await make()]).toEqual(['task 1', 'task 2', 'task 3'])
  repeats.observeStatus('ses_1', RETRY)
  expect([await make(), await make(), await make(), await make()]).toEqual([
    'task 1',
    'task 2',
    'task 3',
    'task 4',
  ])
})

test('a call that the first retry omits still gets its first result after the second retry', async () => {
  const { repeats, make } = counted()
  await make({ prompt: 'one' })
  repeats.observeStatus('ses_1', RETRY)
  await make({ prompt: 'two' })
  repeats.observeStatus('ses_1', RETRY)
  expect(await make({ prompt: 'one' })).toBe('task 1')
})

test('a call with another message, session or arguments is a new call', async () => {
  const { repeats, make } = counted()
  await make({ prompt: 'one' })
  repeats.observeStatus('ses_1', RETRY)
  expect(await make({ prompt: 'two' })).toBe('task 2')
  expect(await make({ prompt: 'one' }, { ...step, sessionID: 'ses_2' })).toBe('task 3')
  expect(await make({ prompt: 'one' }, { ...step, messageID: 'msg_2' })).toBe('task 4')
})

test('a refused call runs again', async () => {
  const repeats = new Repeats()
  const refused = repeats.once('run_background', {}, step, () => Promise.reject(new Error('too many')))
  await expect(refused).rejects.toThrow('too many')
  repeats.observeStatus('ses_1', RETRY)
  expect(await repeats.once('run_background', {}, step, () => Promise.resolve('started'))).toBe('started')
})

test('Repeats remembers the calls of a hundred sessions; one more session replaces the oldest', async () => {
  const { repeats, make } = counted()
  const sessions = Array.from({ length: 101 }, (_, index) => ({ ...step, sessionID: `ses_${index}` }))
  for (const of of sessions) await make({}, of)
  for (const { sessionID } of sessions) repeats.observeStatus(sessionID, RETRY)
  const again = await Promise.all(sessions.slice(1).map((of) => make({}, of)))
  expect(again).toEqual(again.map((_, index) => `task ${index + 2}`))
  expect(await make({}, sessions[0])).toBe('task 102')
})
