import { expect, test } from 'vitest'
import { TaskStore } from '../../../src/task/store.ts'
import type { TaskEvent } from '../../../src/task/task.ts'
import { pendingTask, USAGE } from '../../harness/tasks.ts'

const cancel: TaskEvent = {
  type: 'ended',
  at: 5,
  outcome: { status: 'cancelled', by: 'parent', text: '', usage: USAGE },
}

test('only the first of two ends wins, and only it is told', () => {
  const store = new TaskStore()
  const seen: string[] = []
  store.subscribe((task) => seen.push(task.status))
  store.add(pendingTask())
  expect(store.dispatch('bg_1a2b3c4d', cancel)).toBe(true)
  expect(store.dispatch('bg_1a2b3c4d', cancel)).toBe(false)
  expect(seen).toEqual(['cancelled'])
})

test('an event for an unknown task is a lost race, not an error', () => {
  expect(new TaskStore().dispatch('bg_00000000', cancel)).toBe(false)
})

test('a task is found by its id, by its session, and among what its parent launched, the oldest first', () => {
  const store = new TaskStore()
  store.add(pendingTask({ id: 'bg_1', sessionID: 'ses_1' }))
  store.add(pendingTask({ id: 'bg_2', sessionID: 'ses_2' }))
  store.add(pendingTask({ id: 'bg_3', sessionID: 'ses_3', parentID: 'ses_other' }))
  expect(store.get('bg_2')?.sessionID).toBe('ses_2')
  expect(store.findBySession('ses_1')?.id).toBe('bg_1')
  expect(store.listByParent('ses_parent').map(({ id }) => id)).toEqual(['bg_1', 'bg_2'])
  expect(store.listByParent('ses_nobody')).toEqual([])
})

test('a listener that has left hears nothing more', () => {
  const store = new TaskStore()
  const seen: string[] = []
  const leave = store.subscribe((task) => seen.push(task.id))
  store.add(pendingTask())
  leave()
  store.dispatch('bg_1a2b3c4d', cancel)
  expect(seen).toEqual([])
})

test('what a parent has unfinished, and whether some of it is at work, follows each change, and a next run', () => {
  const store = new TaskStore()
  const states = (): unknown => [[...store.unfinished('ses_parent')], store.isAtWork('ses_parent')]
  store.add(pendingTask({ id: 'bg_1' }))
  store.add(pendingTask({ id: 'bg_2' }))
  expect(states()).toEqual([['bg_1', 'bg_2'], false])
  store.dispatch('bg_1', { type: 'slotTaken', at: 1 })
  expect(states()).toEqual([['bg_1', 'bg_2'], true])
  store.dispatch('bg_1', cancel)
  expect(states()).toEqual([['bg_2'], false])
  const next = { prompt: 'go on', promptIDs: ['msg_2'], description: 'more', createdAt: 9 } as const
  store.dispatch('bg_1', { type: 'continued', next })
  expect(states()).toEqual([['bg_2', 'bg_1'], false])
})
