import type { Session } from '@opencode-ai/sdk/v2'
import { expect, test } from 'vitest'
import type { Step } from '../../../src/task/step.ts'
import { isEnded, type Task } from '../../../src/task/task.ts'
import { NOT_SEEN, viewOf, type TaskView } from '../../../src/tui/task-view.ts'
import { Toasts, type Toast } from '../../../src/tui/toasts.ts'
import { ManualClock } from '../../harness/manual-clock.ts'
import { cancelledTask, completedTask, failedTask, pendingTask } from '../../harness/tasks.ts'

const views = (...tasks: readonly Task[]): TaskView[] =>
  tasks.map((task) => viewOf(task, {} as Session, NOT_SEEN, stepsOf(task)))

function stepsOf(task: Task): Step[] {
  if (!isEnded(task)) return []
  const { status, endedAt: at } = task
  return [{ type: 'transition', event: 'ended', status, at, times: 1 }]
}

const named = <Kind extends Task>(task: Kind, name: string): Kind => ({
  ...task,
  id: name,
  description: name,
})
const pending = (name: string): Task => named(pendingTask(), name)
const completed = (name: string): Task => named(completedTask(), name)
const failed = (name: string): Task => named(failedTask('error', 'bad key'), name)

/** Returns the toasts for a sequence of snapshots of the tasks. */
async function shown(...seen: readonly (readonly Task[])[]): Promise<Toast[]> {
  const clock = new ManualClock()
  const all: Toast[] = []
  const toasts = new Toasts(clock, (toast) => all.push(toast))
  for (const tasks of seen) {
    toasts.see(views(...tasks))
    await clock.advance(10)
  }
  await clock.advance(5000)
  expect(clock.pending).toBe(0)
  return all
}

test('no toast reports a start, or an end while other tasks run', async () => {
  expect(await shown([pending('a')], [pending('a'), pending('b')], [completed('a'), pending('b')])).toEqual(
    [],
  )
})

test('a toast reports a failure and its reason', async () => {
  expect(await shown([pending('a'), pending('b')], [failed('a'), pending('b')])).toEqual([
    { variant: 'error', message: '✗ a (explore) failed: bad key' },
  ])
})

const asking = (name: string): Task => ({ ...completed(name), question: 'Which\nport?' }) as Task

test('a toast reports the question of a task, and how many tasks ask', async () => {
  expect(await shown([pending('a'), pending('b')], [asking('a'), pending('b')])).toEqual([
    { variant: 'info', message: '? a (explore) asks: Which port?' },
  ])
  expect(await shown([pending('a'), pending('b')], [asking('a'), asking('b')])).toEqual([
    { variant: 'info', message: '? 2 tasks ask: a, b\nAll background tasks have ended.' },
  ])
  expect(await shown([pending('a'), pending('b')], [asking('a'), failed('b')])).toEqual([
    {
      variant: 'error',
      message:
        '✗ b (explore) failed: bad key\n? a (explore) asks: Which port?\nAll background tasks have ended.',
    },
  ])
})

test('a toast reports the end of all tasks, together with a failure of the last one', async () => {
  expect(await shown([completed('a'), pending('b')], [completed('a'), completed('b')])).toEqual([
    { variant: 'info', message: 'All background tasks have ended.' },
  ])
  expect(await shown([pending('a')], [failed('a')])).toEqual([
    { variant: 'error', message: '✗ a (explore) failed: bad key\nAll background tasks have ended.' },
  ])
})

test('a toast names a task once that fails twice within a second', async () => {
  const toasts = await shown([pending('a')], [failed('a')], [pending('a')], [failed('a')])
  expect(toasts.map(({ message }) => message.split('\n')[0])).toEqual(['✗ a (explore) failed: bad key'])
})

test('one toast reports failures that follow each other quickly', async () => {
  const names = Array.from({ length: 60 }, (_, index) => `task ${index}`)
  const seen = names.map((_, ended) => [
    ...names.slice(0, ended).map(failed),
    ...names.slice(ended).map(pending),
  ])
  const [toast, ...others] = await shown(...seen)
  expect(toast?.message).toMatch(/^✗ 59 tasks failed: task 0, task 1, .*…$/)
  expect(others).toEqual([])
})

test('no toast reports a task that ended before, was cancelled, or was left behind by OpenCode', async () => {
  expect(await shown([failed('a'), completed('b')])).toEqual([])
  expect(await shown([pending('a')], [named(cancelledTask('user'), 'a')])).toEqual([])
  expect(await shown([pending('a')], [named(failedTask('interrupted', 'OpenCode stopped'), 'a')])).toEqual([])
})
