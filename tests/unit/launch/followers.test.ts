import { expect, test } from 'vitest'
import { Followers } from '../../../src/launch/followers.ts'
import { TaskStore, type StoreEvent } from '../../../src/task/store.ts'
import type { Changes } from '../../../src/task/state.ts'
import type { AgentTask, Task } from '../../../src/task/task.ts'
import type { WorkKind } from '../../../src/work/kind.ts'
import { ManualClock } from '../../harness/manual-clock.ts'
import { completedTask, pendingCommand, pendingTask, USAGE } from '../../harness/tasks.ts'

const worktreeOf = (id: string) => ({
  root: `/trees/${id}`,
  directory: `/trees/${id}`,
  branch: `opencode-background/${id}`,
  checkout: '/project',
  base: { commit: `${id} base`, head: 'head', changed: 0, created: 0 },
})

const COMMITTED: Changes = {
  type: 'committed',
  commit: 'end',
  commits: 1,
  files: 1,
  insertions: 1,
  deletions: 0,
  paths: ['a.ts'],
}

function ended(id: string, changes: Changes): Task {
  return { ...completedTask({ id, sessionID: `ses_${id}`, worktree: worktreeOf(id) }), changes }
}

/** Returns what releases a follower of tasks that have ended. */
async function released(follower: Partial<AgentTask>, ...tasks: readonly Task[]) {
  const store = new TaskStore()
  const events: Extract<StoreEvent, { type: 'released' }>[] = []
  store.subscribe((_, event) => {
    if (event.type === 'released') events.push(event)
  })
  for (const task of tasks) store.add(task)
  const report = () => Promise.resolve({ transcript: { text: 'done' } })
  const followers = new Followers({
    clock: new ManualClock(),
    store,
    executor: { enqueue: () => {}, failPending: () => true },
    kindOf: () => ({ report }) as unknown as WorkKind<Task>,
    timeline: { add: () => {}, addNotice: () => {} },
  })
  const own = { ...pendingTask(), ...follower, id: 'bg_follower', after: tasks.map(({ id }) => id) } as Task
  store.add(own)
  followers.hold(own)
  await new ManualClock().settle()
  return events[0]
}

const INFO = { worktree: worktreeOf('bg_follower') }

test('a follower in a worktree starts from a branch, and knows which changes are not in it', async () => {
  const failed: Changes = { type: 'failed', message: 'index.lock exists' }
  const removed: Changes = { type: 'removed', commit: 'old' }
  const event = await released(
    INFO,
    ended('bg_1', failed),
    ended('bg_2', removed),
    ended('bg_3', COMMITTED),
    ended('bg_4', { type: 'none' }),
  )
  expect(event?.worktree).toMatchObject({
    base: { commit: 'bg_3 base' },
    from: { taskID: 'bg_3', commit: 'end' },
    notes: [
      'it lacks the changes of bg_1, not committed, in /trees/bg_1',
      'it lacks the changes of bg_2, on no branch any more',
    ],
  })
  expect(event?.results.match(/Your files may lack its changes: they are [^\]]+/g)).toEqual([
    'Your files may lack its changes: they are not committed, in /trees/bg_1.',
    'Your files may lack its changes: they are on no branch any more.',
  ])
})

test('a follower in a worktree after a task whose changes have no commit starts as planned, with a note', async () => {
  const event = await released(INFO, ended('bg_1', { type: 'failed', message: 'disk full' }))
  expect(event?.worktree).toEqual({
    ...INFO.worktree,
    notes: ['it lacks the changes of bg_1, not committed, in /trees/bg_1'],
  })
})

test('changes without a commit that are on another machine are named with that', async () => {
  const place = { type: 'machine', name: 'big', directory: '/there' } as const
  const task = { ...ended('bg_1', { type: 'failed', message: 'no contact' }), place } as Task
  const event = await released(INFO, task)
  expect(event?.worktree?.notes).toEqual(['it lacks the changes of bg_1, not committed, in /there on big'])
})

test('changes without a commit at a worker of the fleet are named with the place in their error', async () => {
  const place = { type: 'fleet', labels: [] } as const
  const message = 'worker one keeps them in /there: disk full'
  const task = { ...ended('bg_1', { type: 'failed', message }), place } as Task
  const event = await released(INFO, task)
  expect(event?.worktree?.notes).toEqual([`it lacks the changes of bg_1, not committed: ${message}`])
})

test('a follower without a worktree reads on which branch the changes of a task are', async () => {
  const event = await released({}, ended('bg_1', COMMITTED))
  expect(event).not.toHaveProperty('worktree')
  expect(event?.results).toContain(
    'done\n[Your files may lack its changes: they are on opencode-background/bg_1.]\n</result>',
  )
})

test('a launch after a command that has failed is told to run it again, because no prompt continues it', () => {
  const store = new TaskStore()
  const { status: _, ...command } = pendingCommand()
  const failure = { reason: 'exit', message: 'exit code 2' } as const
  store.add({ ...command, status: 'failed', failure, startedAt: 1, endedAt: 2, usage: USAGE })
  const followers = new Followers({ store } as unknown as ConstructorParameters<typeof Followers>[0])
  expect(followers.refusalOf([command.id], command.parentID)).toEqual([
    `after: ${command.id} has failed (exit), so that nothing was started. Run its command again, and name the new id, or omit it.`,
    'wrongState',
  ])
})
