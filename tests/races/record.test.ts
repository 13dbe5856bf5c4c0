import { expect, test } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

test('what others keep in the metadata of a child is still there after its end is recorded', async () => {
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

test('the record holds what a later process needs, and not the result, which the session holds', async () => {
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

test('a record that cannot be written costs a warning, and the task is told all the same', async () => {
  const { clock, host, launch, answer, notices, complaints } = createFakeStage()
  await launch('unrecorded')
  await clock.advance(100)
  host.failNext('replaceMetadata')
  answer('unrecorded')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  expect(complaints.join('\n')).toContain('it could not be recorded as completed')
})

test('records arrive in their order, however long one of them is on its way', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  host.latencyMs = () => 3000
  // Its record is slow; the prompt with it is, too.
  const steered = manager.continue(id, 'more')
  host.latencyMs = () => 0
  answer('more')
  answer('work')
  await clock.advance(30_000)
  await steered
  expect(manager.get(id)?.status).toBe('completed')
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'completed' } })
})

test('launches that are being created count against the limit of their session', async () => {
  const { clock, host, manager, launch, parentID } = createFakeStage({ maxTasksPerSession: 1 })
  host.latencyMs = () => 10
  const both = Promise.allSettled([launch('one'), launch('two')])
  await clock.advance(1000)
  expect((await both).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  expect(manager.list(parentID)).toHaveLength(1)
})
