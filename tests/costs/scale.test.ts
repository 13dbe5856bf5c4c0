import { expect, test } from 'vitest'
import type { Event } from '../../src/host/opencode.ts'
import plugin from '../../src/server.ts'
import { bytesPerCall } from '../harness/allocations.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

function delta(sessionID: string): Event {
  const properties = { sessionID, messageID: 'msg_1', partID: 'prt_1', field: 'text', delta: 'word' }
  return { id: 'evt_1', type: 'message.part.delta', properties }
}

test('an unrelated event leaves nothing on the heap', async () => {
  const hooks = (await plugin.server({ client: {}, directory: '/project' } as never)) as {
    event: (input: { event: object }) => Promise<void>
  }
  const events = [
    delta('ses_other'),
    { type: 'message.updated', properties: { info: { id: 'msg_1', sessionID: 'ses_other', role: 'user' } } },
    { type: 'session.status', properties: { sessionID: 'ses_other', status: { type: 'busy' } } },
    { type: 'file.watcher.updated', properties: { file: 'README.md', event: 'change' } },
  ].map((event) => ({ event }))
  let next = 0
  const hook = (): void => void hooks.event(events[next++ % events.length] as { event: object })
  expect(bytesPerCall(hook)).toBeLessThan(1)
  // Shows that the measurement works: it detects one promise per event.
  const wasteful = (): void => void Promise.resolve(hook())
  expect(bytesPerCall(wasteful)).toBeGreaterThanOrEqual(16)
})

test('a streaming delta of a child session leaves at most a number on the heap', async () => {
  const { clock, manager, launch } = createFakeStage()
  const { sessionID } = await launch('stream')
  await clock.advance(100)
  const event = delta(sessionID)
  expect(bytesPerCall(() => void manager.hooks().event({ event: event }))).toBeLessThan(17)
})

test('the poll checks only running tasks, however many have ended', async () => {
  const { createFakeScale } = await import('../harness/fake-scale.ts')
  const scale = createFakeScale({ parents: 3, total: 100 })
  await scale.hold(8)
  const before = await scale.looksOfNextPoll()
  await scale.run(600)
  expect(await scale.looksOfNextPoll()).toBe(before)
  expect(before).toBe(8)
})

test(
  'an ended task leaves at most 2 KB in memory, because OpenCode stores its result',
  { timeout: 120_000 },
  async () => {
    const { createFakeScale } = await import('../harness/fake-scale.ts')
    const scale = createFakeScale({ parents: 10, total: 100 })
    const { told } = await scale.run(1000)
    expect((await scale.release()) / told).toBeLessThan(2048)
  },
)

test(
  'the work of a running child leaves at most 8 KB in memory, however many steps it makes',
  { timeout: 120_000 },
  async () => {
    const { createFakeScale } = await import('../harness/fake-scale.ts')
    const bytesAfter = async (steps: number): Promise<number> => {
      const scale = createFakeScale({ parents: 10, total: 1000 })
      await scale.hold(100)
      // The run is still followed by its events, and nothing was read.
      expect(new Set(await scale.work(steps))).toEqual(new Set([steps]))
      return (await scale.release()) / 100
    }
    // Code that is compiled during a measurement counts in it.
    await bytesAfter(100)
    const begun = await bytesAfter(0)
    const some = await bytesAfter(50)
    const many = await bytesAfter(200)
    expect(many - begun).toBeLessThan(8192)
    expect(many - some).toBeLessThan(320)
    // With its prompt of 3 KB, its place in the queue, and all that waits for its end.
    expect(many).toBeLessThan(24_576)
  },
)
