import { expect, test } from 'vitest'
import { TaskStore } from '../../../src/task/store.ts'
import type { TaskEvent } from '../../../src/task/task-event.ts'
import { pendingTask, USAGE } from '../../harness/tasks.ts'

const cancel: TaskEvent = {
  type: 'ended',
  at: 5,
  outcome: { status: 'cancelled', by: 'parent', text: '', usage: USAGE },
}

test('the store accepts only the first of two ends, and notifies its listeners once', () => {
  const store = new TaskStore()
  const seen: string[] = []
  store.subscribe((task) => seen.push(task.status))
  store.add(pendingTask())
  expect(store.dispatch('bg_1a2b3c4d', cancel)).toBe(true)
  expect(store.dispatch('bg_1a2b3c4d', cancel)).toBe(false)
  expect(seen).toEqual(['pending', 'cancelled'])
})

test('an event for an unknown task is a lost race, not an error', () => {
  expect(new TaskStore().dispatch('bg_00000000', cancel)).toBe(false)
})

test('a task is found by its id and by its session, until it is removed', () => {
  const store = new TaskStore()
  store.add(pendingTask({ id: 'bg_1', sessionID: 'ses_1' }))
  store.add(pendingTask({ id: 'bg_2', sessionID: 'ses_2' }))
  expect(store.get('bg_2')?.sessionID).toBe('ses_2')
  expect(store.findBySession('ses_1')?.id).toBe('bg_1')
  store.remove('bg_1')
  expect([store.get('bg_1'), store.findBySession('ses_1')]).toEqual([undefined, undefined])
  expect([...store.all()].map(({ id }) => id)).toEqual(['bg_2'])
})

test('an unsubscribed listener receives no more events', () => {
  const store = new TaskStore()
  const seen: string[] = []
  store.add(pendingTask())
  const leave = store.subscribe((task) => seen.push(task.id))
  leave()
  store.dispatch('bg_1a2b3c4d', cancel)
  expect(seen).toEqual([])
})
