import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('the record of an end keeps the other metadata of the child session', async () => {
  const { clock, host, launch, answer } = createFakeStage()
  const { sessionID } = await launch('marked')
  await clock.advance(100)
  const { metadata } = host.session(sessionID)
  await host.opencode.replaceMetadata(sessionID, { ...metadata, other: { colour: 'blue' } })
  answer('marked')
  await clock.advance(1000)
  expect(host.session(sessionID).metadata).toMatchObject({
    background: { status: 'completed', version: 1, owner: { pid: 1 } },
    other: { colour: 'blue' },
  })
})

test('the record has all that a later process needs, but not the result, which the session has', async () => {
  const { clock, host, launch, answer } = createFakeStage()
  const task = await launch('recorded')
  expect(host.session(task.sessionID).metadata).toMatchObject({
    background: {
      id: task.id,
      status: 'pending',
      prompt: 'recorded',
      agent: 'general',
      parentID: task.parentID,
    },
  })
  await clock.advance(100)
  answer('recorded')
  await clock.advance(1000)
  const after = host.session(task.sessionID).metadata
  expect(after).toMatchObject({ background: { status: 'completed', usage: { toolCalls: 0 } } })
  expect(JSON.stringify(after)).not.toContain('result of recorded')
})

test('a record that cannot be written causes a warning, and the notice is still sent', async () => {
  const { clock, host, launch, answer, notices, complaints } = createFakeStage()
  await launch('unrecorded')
  await clock.advance(100)
  host.failNext('replaceMetadata')
  answer('unrecorded')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  expect(complaints.join('\n')).toContain('could not be recorded as completed')
})

test('records are written in their order, however long one of them takes', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  const replace = host.opencode.replaceMetadata.bind(host.opencode)
  host.opencode.replaceMetadata = async (asked, metadata) => {
    host.opencode.replaceMetadata = replace
    await new Promise<void>((resolve) => clock.after(5000, resolve))
    return replace(asked, metadata)
  }
  // The record of the steering is slow; the task ends while it is in flight.
  const told = manager.continue(id, 'more')
  answer('work')
  answer('more')
  await clock.advance(1000)
  expect(manager.get(id)?.status).toBe('completed')
  await clock.advance(10_000)
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'completed' } })
  expect(await told).toMatchObject({ id, run: 1 })
})

test('launches in progress count against the limit of their parent', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage({ maxTasksPerSession: 1 })
  host.latencyMs = () => 10
  const both = Promise.allSettled([launch('one'), launch('two')])
  await clock.advance(1000)
  expect((await both).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  expect(manager.list(parentID)).toHaveLength(1)
})
