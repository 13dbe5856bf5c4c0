import { expect, test } from 'vitest'
import type { Step } from '../../src/task/step.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

test('a listener of the manager is called with each step of a task, in order, until it unsubscribes', async () => {
  const { clock, manager, launch, answer } = createFakeStage()
  const heard: [Step, string][] = []
  const leave = manager.on((step, task) => heard.push([step, task.status]))
  const { id } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  expect(heard.map(([step]) => step)).toEqual(manager.story(id)?.steps)
  expect(heard.map(([step]) => (step.type === 'notice' ? step.notice : step.type))).toEqual([
    'queued',
    'transition',
    'transition',
    'answering',
    'transition',
    'owed',
    'sent',
    'confirmed',
  ])
  expect(heard[4]).toMatchObject([{ event: 'ended', status: 'completed', times: 1 }, 'completed'])
  leave()
  await launch('more')
  expect(heard).toHaveLength(8)
})

test('a throwing listener is logged, and affects neither the task nor other listeners', async () => {
  const { clock, manager, launch, answer, notices, complaints } = createFakeStage()
  let heard = 0
  manager.on(() => {
    throw new Error('too purple')
  })
  manager.on(() => (heard += 1))
  await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  expect(heard).toBe(8)
  expect(complaints).toContainEqual(expect.stringContaining('too purple'))
})
