import type { Event, Session } from '@opencode-ai/sdk/v2'
import { expect, test } from 'vitest'
import { readRequest } from '../../../src/task/request.ts'
import { ask } from '../../../src/tui/ask.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

type Updated = Extract<Event, { type: 'session.updated' }>

/** @param directory of the task's session */
function create(directory = '/project') {
  const clock = new ManualClock()
  const handlers = new Set<(event: Updated) => void>()
  let metadata: Record<string, unknown> = { background: { status: 'pending' }, other: 'kept' }
  const write = (next: Readonly<Record<string, unknown>>): void => {
    metadata = { ...next }
    for (const handler of handlers) handler({ properties: { info: { id: 'ses_1', metadata } } } as Updated)
  }
  const published: string[] = []
  const host = {
    session: (id: string) =>
      Promise.resolve(
        (id === 'ses_1'
          ? { id, directory, metadata }
          : { id, directory: '/project', metadata: {} }) as object as Session,
      ),
    publishCommand: (command: string, at: string) =>
      Promise.resolve(void published.push(`${command} in ${at}`)),
    replaceMetadata: (_: string, next: Readonly<Record<string, unknown>>) => Promise.resolve(write(next)),
  }
  const onSessionUpdated = (handler: (event: Updated) => void) => {
    handlers.add(handler)
    return () => void handlers.delete(handler)
  }
  return {
    clock,
    handlers,
    published,
    metadata: () => metadata,
    answer: (answer: { ok: boolean; text: string }) =>
      write({ ...metadata, backgroundRequest: { ...readRequest(metadata), answer } }),
    ask: () =>
      ask(
        { host, clock, onSessionUpdated },
        { sessionID: 'ses_1', parentID: 'ses_parent', run: 2 },
        { kind: 'cancel' },
      ),
  }
}

test('ask writes its request beside the other metadata, and waits for the answer', async () => {
  const { ask: doAsk, answer, clock, handlers, metadata } = create()
  const asking = doAsk()
  await clock.settle()
  expect(metadata()).toMatchObject({
    background: { status: 'pending' },
    other: 'kept',
    backgroundRequest: { run: 2, kind: 'cancel' },
  })
  answer({ ok: true, text: 'done' })
  expect(await asking).toEqual({ ok: true, text: 'done' })
  expect(handlers.size + clock.pending).toBe(0)
})

test('ask withdraws an unanswered request, so that no process acts on it later', async () => {
  const { ask: doAsk, clock, handlers, metadata } = create()
  const asking = doAsk().catch(String)
  await clock.advance(31_000)
  expect(await asking).toContain('did not answer')
  expect(metadata()).toEqual({ background: { status: 'pending' }, other: 'kept' })
  expect(handlers.size + clock.pending).toBe(0)
})

test('ask points the plugin at a session in another directory than its parent, and at no other', async () => {
  for (const [directory, commands] of [
    ['/tree', ['background.request.ses_1 in /project']],
    ['/project', []],
  ] as const) {
    const { ask: doAsk, answer, clock, published } = create(directory)
    const asking = doAsk()
    await clock.settle()
    expect(published).toEqual(commands)
    answer({ ok: true, text: 'done' })
    await asking
  }
})
