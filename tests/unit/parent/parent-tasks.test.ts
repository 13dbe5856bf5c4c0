import { expect, test } from 'vitest'
import { ParentTasks } from '../../../src/parent/parent-tasks.ts'
import { TaskStore } from '../../../src/task/store.ts'
import type { TaskEvent } from '../../../src/task/task-event.ts'
import { pendingTask, USAGE } from '../../harness/tasks.ts'

const cancel: TaskEvent = {
  type: 'ended',
  at: 5,
  outcome: { status: 'cancelled', by: 'parent', text: '', usage: USAGE },
}

test('ParentTasks tracks unfinished and active tasks through each change and the next run', () => {
  const store = new TaskStore()
  const tasks = new ParentTasks(store)
  store.subscribe((task, event) => tasks.observeTask(task, event))
  const states = (): unknown => [[...tasks.unfinished()].map(({ id }) => id), tasks.activeCount]
  store.add(pendingTask({ id: 'bg_1', sessionID: 'ses_1', createdAt: 2 }))
  store.add(pendingTask({ id: 'bg_2', sessionID: 'ses_2', createdAt: 1 }))
  expect(states()).toEqual([['bg_1', 'bg_2'], 0])
  store.dispatch('bg_1', { type: 'slotTaken', at: 1 })
  expect(states()).toEqual([['bg_1', 'bg_2'], 1])
  store.dispatch('bg_1', cancel)
  expect(states()).toEqual([['bg_2'], 0])
  expect(tasks.used).toEqual(USAGE)
  const next = { prompt: 'go on', promptIDs: ['msg_2'], description: 'more', createdAt: 9 } as const
  store.dispatch('bg_1', { type: 'continued', next })
  expect(states()).toEqual([['bg_2', 'bg_1'], 0])
})

test('ParentTasks lists tasks in launch order', () => {
  const store = new TaskStore()
  const tasks = new ParentTasks(store)
  store.subscribe((task, event) => tasks.observeTask(task, event))
  store.add(pendingTask({ id: 'bg_1', sessionID: 'ses_1', createdAt: 2 }))
  store.add(pendingTask({ id: 'bg_2', sessionID: 'ses_2', createdAt: 1 }))
  expect(tasks.list().map(({ id }) => id)).toEqual(['bg_2', 'bg_1'])
})
