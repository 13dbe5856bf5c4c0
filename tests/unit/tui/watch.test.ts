import type { Event, Session } from '@opencode-ai/sdk/v2'
import { expect, test, vi } from 'vitest'
import type { Task } from '../../../src/task/task.ts'
import type { Host, StoredMessage } from '../../../src/tui/host.ts'
import { Watch } from '../../../src/tui/watch.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

const PARENT = 'ses_parent'
const OWNER = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
const ENDED = { status: 'completed', startedAt: 1, endedAt: 2, usage: { toolCalls: 0, tokens: 0, cost: 0 } }

/** Returns a child session with a task record; `state` and `changes` override fields. */
function session(id: string, state: object = { status: 'pending' }, changes: object = {}): Session {
  const record = {
    version: 1,
    owner: OWNER,
    id: 'bg_00000001',
    run: 1,
    parentID: PARENT,
    description: id,
    createdAt: 0,
    kind: 'agent',
    agent: 'general',
    prompt: id,
    promptIDs: ['msg_1'],
    ...state,
  }
  return {
    id,
    parentID: PARENT,
    time: { created: 0 },
    metadata: { background: record },
    ...changes,
  } as object as Session
}

const updated = (info: Session): Event => ({
  id: 'e',
  type: 'session.updated',
  properties: { sessionID: info.id, info },
})
const status = (sessionID: string, type: 'busy' | 'idle'): Event => ({
  id: 'e',
  type: 'session.status',
  properties: { sessionID, status: { type } },
})
const asked = (sessionID: string, id: string): Event =>
  ({
    id: 'e',
    type: 'permission.asked',
    properties: { id, sessionID, permission: 'bash', patterns: ['ls'] },
  }) as Event
const replied = (sessionID: string, requestID: string): Event => ({
  id: 'e',
  type: 'permission.replied',
  properties: { sessionID, requestID, reply: 'once' },
})
const tool = (sessionID: string, title: string): Event =>
  ({
    id: 'e',
    type: 'message.part.updated',
    properties: {
      sessionID,
      part: { type: 'tool', tool: 'read', state: { status: 'completed', input: {}, title } },
    },
  }) as object as Event

function create(children: readonly Session[] = [], busy: readonly string[] = []) {
  const clock = new ManualClock()
  const host = {
    children: vi.fn<Host['children']>(() => Promise.resolve(children)),
    statuses: vi.fn<Host['statuses']>(() =>
      Promise.resolve(Object.fromEntries(busy.map((id) => [id, { type: 'busy' as const }]))),
    ),
    permissions: vi.fn<Host['permissions']>(() => Promise.resolve([])),
    messages: vi.fn<Host['messages']>(() => Promise.resolve([])),
  }
  const refreshRecords = vi.fn<(task: Task) => Promise<unknown>>(() => Promise.resolve())
  const watch = new Watch({ host, clock, directory: () => '/project', refreshRecords }, PARENT)
  const phases = (): string[] => watch.views.map(({ task, phase }) => `${task.description} ${phase}`)
  return { clock, host, refreshRecords, watch, phases }
}

test('Watch queries OpenCode once, and then follows events', async () => {
  const { clock, host, watch, phases } = create([session('one'), session('two', ENDED)], ['one'])
  await watch.load()
  await watch.load()
  expect(phases()).toEqual(['one running', 'two completed'])
  watch.handleEvent(updated(session('three')))
  watch.handleEvent(status('three', 'busy'))
  watch.handleEvent(asked('three', 'per_1'))
  watch.handleEvent(asked('three', 'per_2'))
  expect(phases()).toEqual(['one running', 'two completed', 'three waiting'])
  watch.handleEvent(replied('three', 'per_1'))
  expect(phases()[2]).toBe('three waiting')
  watch.handleEvent(replied('three', 'per_2'))
  expect(phases()[2]).toBe('three running')
  watch.handleEvent(tool('three', '/project/src/auth.ts'))
  expect(watch.views[2]?.activity).toBe('read src/auth.ts')
  // Idle is a hint only: the record decides whether the task has ended.
  watch.handleEvent(status('three', 'idle'))
  expect(phases()[2]).toBe('three running')
  watch.handleEvent(updated(session('three', ENDED)))
  expect(phases()[2]).toBe('three completed')
  expect(host.children).toHaveBeenCalledTimes(1)
  expect(clock.pending).toBe(0)
})

test('the next run of a task is pending again, and its time starts over', async () => {
  const { watch, phases } = create([session('one')], ['one'])
  await watch.load()
  watch.handleEvent(status('one', 'idle'))
  watch.handleEvent(updated(session('one', ENDED)))
  watch.handleEvent(updated(session('one', { status: 'pending', run: 2 })))
  expect(phases()).toEqual(['one pending'])
  expect(watch.views[0]?.begunAt).toBeUndefined()
  watch.handleEvent(status('one', 'busy'))
  expect(phases()).toEqual(['one running'])
})

test('Watch ignores sessions that are no tasks of its parent', async () => {
  const others = [
    { ...session('plain'), metadata: {} },
    { ...session('newer'), metadata: { background: { version: 99 } } },
    session('fork', { parentID: 'ses_other' }),
  ]
  const { watch, phases } = create(others)
  await watch.load()
  watch.handleEvent(updated(session('elsewhere', {}, { parentID: 'ses_other' })))
  watch.handleEvent(status('unknown', 'busy'))
  expect(phases()).toEqual([])
})

test('Watch keeps events that arrive during its query, even if the answer is older', async () => {
  const { host, watch, phases } = create([session('one'), session('two')])
  let answer: (children: readonly Session[]) => void = () => {}
  host.children.mockReturnValueOnce(
    new Promise((resolve) => {
      answer = resolve
    }),
  )
  const loading = watch.load()
  watch.handleEvent(status('one', 'busy'))
  watch.handleEvent(asked('one', 'per_1'))
  watch.handleEvent(updated(session('two', ENDED)))
  watch.handleEvent(updated(session('three')))
  answer([session('one'), session('two')])
  await loading
  expect(phases().toSorted()).toEqual(['one waiting', 'three pending', 'two completed'])
})

test('Watch repeats a failed query at the next event of the session', async () => {
  const { host, watch, phases } = create([session('one')])
  host.children.mockRejectedValueOnce(new Error('no'))
  expect(await watch.load()).toBe(false)
  host.children.mockResolvedValue([session('one'), session('two')])
  watch.handleEvent(updated(session('two')))
  expect(await watch.load()).toBe(true)
  expect(host.children).toHaveBeenCalledTimes(2)
  expect(phases().toSorted()).toEqual(['one pending', 'two pending'])
})

test('Watch reads start and activity of an already running task from its messages', async () => {
  const { host, watch } = create([session('one'), session('two', ENDED)], ['one'])
  const part = { type: 'tool', tool: 'grep', state: { status: 'running', input: { pattern: 'todo' } } }
  host.messages.mockResolvedValue([
    { info: { id: 'msg_1', role: 'user', time: { created: 500 } }, parts: [{ type: 'text', text: 'one' }] },
    { info: { id: 'msg_2', role: 'assistant' }, parts: [part] },
  ] as object as StoredMessage[])
  await watch.load()
  expect(watch.views[0]).toMatchObject({ begunAt: 500, activity: 'grep todo' })
  // Watch reads no messages of a task that is not at work.
  expect(host.messages).toHaveBeenCalledTimes(1)
})

test('Watch counts each tool call of the run at work once, with those from before it was opened', async () => {
  const { host, watch } = create([session('one')], ['one'])
  const part = (id: string): object => ({
    id,
    type: 'tool',
    tool: 'read',
    state: { status: 'running', input: {} },
  })
  const updatedPart = (id: string): Event =>
    ({ type: 'message.part.updated', properties: { sessionID: 'one', part: part(id) } }) as Event
  host.messages.mockResolvedValue([
    { info: { id: 'msg_0', role: 'assistant', time: {} }, parts: [part('prt_earlier')] },
    { info: { id: 'msg_1', role: 'user', time: { created: 500 } }, parts: [] },
    { info: { id: 'msg_2', role: 'assistant', time: {} }, parts: [part('prt_1'), part('prt_2')] },
  ] as object as StoredMessage[])
  await watch.load()
  for (const id of ['prt_2', 'prt_3', 'prt_3']) watch.handleEvent(updatedPart(id))
  expect(watch.views[0]?.toolCalls).toBe(3)
  // A lost connection loses events, and no call is counted again after it.
  watch.reload()
  await watch.load()
  expect(watch.views[0]?.toolCalls).toBe(3)
  watch.handleEvent(updated(session('one', { status: 'pending', run: 2 })))
  expect(watch.views[0]?.toolCalls).toBe(0)
})

test('Watch runs a timer only while a subscriber wants ticks and a task is at work', async () => {
  const { clock, watch } = create([session('one')], ['one'])
  await watch.load()
  const told = vi.fn<() => void>()
  watch.subscribe(vi.fn<() => void>())
  expect(clock.pending).toBe(0)
  const stop = watch.subscribe(told, true)
  expect(clock.pending).toBe(1)
  await clock.advance(3000)
  expect(told.mock.calls.length).toBeGreaterThanOrEqual(3)
  stop()
  expect(clock.pending).toBe(0)
  watch.subscribe(told, true)
  watch.handleEvent(updated(session('one', ENDED)))
  await clock.settle()
  expect(clock.pending).toBe(0)
  watch.handleEvent(updated(session('two')))
  await clock.settle()
  expect(clock.pending).toBe(0)
  watch.handleEvent(status('two', 'busy'))
  await clock.settle()
  expect(clock.pending).toBe(1)
  watch.dispose()
  expect(clock.pending).toBe(0)
})

test('Watch reports simultaneous changes once', async () => {
  const many = Array.from({ length: 60 }, (_, index) => session(`task ${index}`))
  const { clock, watch } = create(many)
  const told = vi.fn<() => void>()
  watch.subscribe(told)
  await watch.load()
  await clock.settle()
  expect(told.mock.calls.length).toBeLessThanOrEqual(2)
  expect(watch.views).toHaveLength(60)
})

test('Watch drops the task of a deleted session', async () => {
  const { watch, phases } = create([session('one'), session('two')])
  await watch.load()
  watch.handleEvent({
    id: 'e',
    type: 'session.deleted',
    properties: { sessionID: 'one', info: session('one') },
  })
  expect(phases()).toEqual(['two pending'])
})

test('after a lost connection, Watch detects that a task is idle or deleted', async () => {
  const { host, watch, phases } = create([session('one'), session('two')], ['one', 'two'])
  await watch.load()
  expect(phases()).toEqual(['one running', 'two running'])
  host.children.mockResolvedValue([session('one')])
  host.statuses.mockResolvedValue({})
  watch.reload()
  await watch.load()
  expect(phases()).toEqual(['one pending'])
  expect(watch.views[0]?.begunAt).toBeUndefined()
})

test('Watch requests one check for the owner of unfinished tasks that OpenCode does not run', async () => {
  const { refreshRecords, watch } = create([session('one'), session('two'), session('three', ENDED)], ['one'])
  refreshRecords.mockRejectedValue(new Error('nobody'))
  await watch.load()
  expect(refreshRecords.mock.calls.map(([task]) => task.description)).toEqual(['two'])
  const busy = create([session('one'), session('three', ENDED)], ['one'])
  await busy.watch.load()
  expect(busy.refreshRecords).not.toHaveBeenCalled()
})

test('Watch queries also the worktrees in which tasks are at work, and no other directory', async () => {
  const tree = (name: string): object => ({
    worktree: {
      root: `/trees/${name}`,
      directory: `/trees/${name}`,
      branch: name,
      checkout: '/project',
      base: { commit: 'c', head: 'c', changed: 0, created: 0 },
    },
  })
  const { host, watch } = create([
    session('here', { status: 'pending' }, { directory: '/project' }),
    session('moved', { status: 'pending', ...tree('moved') }, { directory: '/trees/moved' }),
    session('unmade', { status: 'pending', ...tree('unmade') }, { directory: '/project' }),
    session('ended', { ...ENDED, ...tree('ended') }, { directory: '/trees/ended' }),
  ])
  await watch.load()
  for (const call of [host.statuses, host.permissions]) expect(call.mock.calls).toEqual([[['/trees/moved']]])
})

test('Watch shows the paths of a task in a worktree from its top', async () => {
  const worktree = {
    root: '/trees/one',
    directory: '/trees/one',
    branch: 'one',
    checkout: '/project',
    base: { commit: 'c', head: 'c', changed: 0, created: 0 },
  }
  const { watch } = create(
    [session('one', { status: 'pending', worktree }, { directory: '/trees/one' })],
    ['one'],
  )
  await watch.load()
  watch.handleEvent(tool('one', '/trees/one/src/page.ts'))
  expect(watch.views[0]?.activity).toBe('read src/page.ts')
})
