import type { PermissionRequest, Session } from '@opencode-ai/sdk/v2'
import { expect, test } from 'vitest'
import { NO_USAGE } from '../../../src/task/state.ts'
import type { Task } from '../../../src/task/task.ts'
import { choicesFor } from '../../../src/tui/actions.ts'
import { widthOf } from '../../../src/tui/truncate.ts'
import { badgeOf, entriesOf, sidebarOf, totalOf } from '../../../src/tui/rows.ts'
import { NOT_SEEN, viewOf, type Live, type TaskView } from '../../../src/tui/task-view.ts'

const NOW = 1_000_000
const WIDTH = 36

const ASK: PermissionRequest = {
  id: 'per_1',
  sessionID: 'ses_1',
  permission: 'bash',
  patterns: ['rm -rf build'],
  always: ['rm *'],
  metadata: {},
}

let count = 0

const PENDING = { status: 'pending' } as const
const RUNNING: Partial<Live> = { status: { type: 'busy' }, begunAt: NOW - 72_000 }
const completed = (endedAt: number) =>
  ({ status: 'completed', startedAt: endedAt - 3200, endedAt, usage: NO_USAGE }) as const
const FAILED = {
  status: 'failed',
  startedAt: NOW - 9000,
  endedAt: NOW - 8000,
  usage: NO_USAGE,
  failure: { reason: 'error', message: 'bad request' },
} as const

const AGENT = { kind: 'agent', agent: 'explore', prompt: 'Look.', promptIDs: ['msg_1'] }

function view(
  description: string,
  state: object = PENDING,
  live: Partial<Live> = {},
  session: object = {},
  work: object = AGENT,
): TaskView {
  count += 1
  const task = {
    id: `bg_${String(count).padStart(8, '0')}`,
    run: 1,
    sessionID: `ses_${count}`,
    parentID: 'ses_parent',
    description,
    createdAt: NOW - 100_000,
    ...work,
    ...state,
  } as object as Task
  return viewOf(task, session as Session, { ...NOT_SEEN, ...live }, [])
}

const BRANCH = 'opencode-background/bg_00000001-write-a-page'

/** A task in a worktree. */
const inTree = (state: object, live: Partial<Live> = {}): TaskView =>
  view(
    'write',
    state,
    live,
    {},
    { ...AGENT, worktree: { root: '/tree', directory: '/tree', branch: BRANCH } },
  )
const COMMITTED = { type: 'committed', commit: 'c0ffee', commits: 1, files: 3, paths: [] }

const command = (description: string, state: object): TaskView =>
  view(description, state, {}, {}, { kind: 'command', command: 'npm run dev' })

test('the sidebar and the badge are undefined when there are no tasks', () => {
  expect(sidebarOf([], NOW, WIDTH)).toBeUndefined()
  expect(badgeOf([])).toBeUndefined()
})

test('each state has its own sign, and its row names the activity or the reason to wait', () => {
  const views = [
    view('queued'),
    view('later', { ...PENDING, after: ['bg_0000000a', 'bg_0000000b'] }),
    view('mapping', PENDING, { ...RUNNING, activity: 'read src/auth.ts' }),
    view('asking', PENDING, { ...RUNNING, permissionRequests: [ASK] }),
    view('broken', FAILED),
    view('over', completed(NOW - 1000)),
  ]
  const { rows = [], counts, more } = sidebarOf(views, NOW, WIDTH) ?? {}
  expect(rows.map(({ sign, label, time, detail }) => [sign, label, time, detail])).toEqual([
    ['?', 'explore asking', '1m 12s', 'waits: bash rm -rf build'],
    ['●', 'explore mapping', '1m 12s', 'read src/auth.ts'],
    ['○', 'explore queued', '', 'waits for its turn'],
    ['○', 'explore later', '', 'waits for bg_0000000a, bg_0000000b'],
    ['✓', 'explore over', '3.2s', undefined],
    ['✗', 'explore broken', '1.0s', 'bad request'],
  ])
  expect(counts).toBe('● 1  ? 1  ○ 2')
  expect(more).toBeUndefined()
  expect(badgeOf(views)).toEqual({ running: '● 1 running', waiting: '? 1 waiting' })
})

test('a command runs from the start in its record, and shows its output match', () => {
  const state = { status: 'running', startedAt: NOW - 5000 }
  const running = command('dev server', state)
  const ready = command('dev server', { ...state, matched: { text: 'listening', at: NOW } })
  const { rows = [] } = sidebarOf([running, ready, command('later', PENDING)], NOW, WIDTH) ?? {}
  expect(rows.map(({ sign, label, time, detail }) => [sign, label, time, detail])).toEqual([
    ['●', '$ dev server', '5s', 'npm run dev'],
    ['●', '$ dev server', '5s', 'matched: listening'],
    ['○', '$ later', '', 'waits for its turn'],
  ])
})

test('a row reports an overloaded provider with the reason', () => {
  const live = { status: { type: 'retry', attempt: 2, message: 'overloaded', next: NOW } } as const
  expect(sidebarOf([view('slow', PENDING, live)], NOW, WIDTH)?.rows[0]?.detail).toBe('retrying: overloaded')
})

test('the sidebar shows ten of sixty tasks, running ones first, and counts the others', () => {
  const ended = Array.from({ length: 30 }, (_, index) =>
    view(`ended ${index}`, completed(NOW - index * 1000)),
  )
  const unfinished = Array.from({ length: 30 }, (_, index) => view(`running ${index}`, PENDING, RUNNING))
  const sidebar = sidebarOf([...ended, ...unfinished], NOW, WIDTH)
  expect(sidebar?.rows).toHaveLength(10)
  expect(sidebar?.rows.slice(-3).map(({ label }) => label)).toEqual([
    'explore ended 0',
    'explore ended 1',
    'explore ended 2',
  ])
  expect(sidebar?.more).toBe('… 50 more: /tasks')
  expect(entriesOf([...ended, ...unfinished], NOW, 80)).toHaveLength(60)
})

test('no line exceeds its width, whatever a description contains', () => {
  const views = ['x'.repeat(400), 'a\nb\u001B[2J', '漢'.repeat(60)].flatMap((text) => [
    view(text, PENDING, { ...RUNNING, activity: text }),
    view(text, { ...FAILED, failure: { reason: 'error', message: text } }),
  ])
  for (const { sign, label, time, detail } of sidebarOf(views, NOW, WIDTH)?.rows ?? []) {
    expect(widthOf(`${sign} ${label} ${time}`)).toBeLessThanOrEqual(WIDTH)
    expect(widthOf(`  ${detail}`)).toBeLessThanOrEqual(WIDTH)
    expect(`${label}${detail}`).not.toMatch(/\p{Cc}/u)
  }
  for (const { title, description, footer } of entriesOf(views, NOW, 70))
    expect(widthOf(`${title} ${description} ${footer}`)).toBeLessThanOrEqual(70)
})

test('tokens and cost come from the session, for each task and in total', () => {
  const tokens = { input: 15_000, output: 3000, reasoning: 200, cache: { read: 0, write: 0 } }
  const views = [
    view('dear', PENDING, RUNNING, { cost: 0.04, tokens }),
    view('free', completed(NOW)),
    view('old', { ...completed(NOW), usage: { toolCalls: 1, tokens: 1000, cost: 0.01 } }),
  ]
  expect(entriesOf(views, NOW, 100).map(({ footer }) => footer)).toEqual([
    '1m 12s · 18.2k tokens · $0.04',
    '3.2s',
    '3.2s · 1.0k tokens · $0.01',
  ])
  expect(totalOf(views)).toBe('1 running · 19.2k tokens · $0.05')
})

test('the choices for a task depend on its state', () => {
  const titles = (task: TaskView): string[] =>
    choicesFor(task).map(({ title }) => title.replace(/bg_\w+/, 'id'))
  expect(titles(view('queued'))).toEqual([
    'Open its session',
    'Send it a message',
    'Cancel it',
    'Copy its id: id',
  ])
  expect(titles(view('asks', PENDING, { ...RUNNING, permissionRequests: [ASK] })).slice(0, 3)).toEqual([
    'Allow once: bash rm -rf build',
    'Always allow: bash rm *',
    'Reject: bash rm -rf build',
  ])
  expect(titles(view('over', completed(NOW)))).toEqual([
    'Open its session',
    'Read the result',
    'Continue with a message',
    'Copy its id: id',
  ])
  expect(titles(command('dev', { status: 'running', startedAt: NOW }))).toEqual([
    'Open its session',
    'Read the output',
    'Kill it',
    'Copy its id: id',
  ])
  expect(titles(command('dev', completed(NOW)))).toEqual([
    'Open its session',
    'Read the output',
    'Copy its id: id',
  ])
})

test('a task in a worktree shows that it is prepared, then its branch, then what it has changed there', () => {
  const starting = { status: 'starting', startedAt: NOW - 2000 }
  const views = [
    inTree(PENDING),
    inTree(starting),
    inTree(starting, { ...RUNNING, activity: 'read page.ts' }),
    inTree({ ...completed(NOW), changes: COMMITTED }),
    inTree({ ...completed(NOW - 1), changes: { ...COMMITTED, files: 1 } }),
    inTree({ ...completed(NOW - 2), changes: { type: 'none' } }),
  ]
  const { rows = [] } = sidebarOf(views, NOW, WIDTH) ?? {}
  expect(rows.map(({ sign, time, detail }) => [sign, time, detail])).toEqual([
    ['●', '2s', 'its worktree is prepared'],
    ['●', '2s', 'read page.ts'],
    ['○', '', 'waits for its turn'],
    ['✓', '3.2s', '3 changed files on bg_00000001-wr…'],
    ['✓', '3.2s', '1 changed file on bg_00000001-wri…'],
    ['✓', '3.2s', undefined],
  ])
  expect(entriesOf(views, NOW, 200).map(({ description }) => description)).toEqual([
    `explore · its worktree is prepared · ${BRANCH}`,
    `explore · read page.ts · ${BRANCH}`,
    `explore · waits for its turn · ${BRANCH}`,
    `explore · 3 changed files on ${BRANCH}`,
    `explore · 1 changed file on ${BRANCH}`,
    'explore',
  ])
})

test('the changes of a worktree can be applied and removed while they are there', () => {
  const titles = (task: TaskView): string[] =>
    choicesFor(task).map(({ title }) => title.replace(/bg_\w+/, 'id'))
  const both = ['Apply its changes', 'Remove its worktree']
  expect(titles(inTree({ ...completed(NOW), changes: COMMITTED }))).toEqual([
    'Open its session',
    'Read the result',
    'Continue with a message',
    ...both,
    'Copy its id: id',
  ])
  const without = [PENDING, ...['none', 'removed'].map((type) => ({ ...completed(NOW), changes: { type } }))]
  for (const state of without) expect(titles(inTree(state))).not.toEqual(expect.arrayContaining(both))
})

test('a row and an entry show the used share of a budget, from the sums of the session', () => {
  const session = { cost: 0.8, tokens: { input: 900, output: 0, reasoning: 0, cache: { read: 0, write: 0 } } }
  const work = { ...AGENT, budget: { cost: 1, tokens: 9000 } }
  const running = view('count', PENDING, { ...RUNNING, activity: 'bash npm test' }, session, work)
  expect(sidebarOf([running], NOW, WIDTH)?.rows[0]?.detail).toBe('80 % of $1.00 · bash npm test')
  expect(entriesOf([running], NOW, 100)[0]?.description).toContain('80 % of $1.00 · bash npm test')
  const ended = view('count', completed(NOW), {}, session, work)
  expect(sidebarOf([ended], NOW, WIDTH)?.rows[0]?.detail).toBeUndefined()
  expect(entriesOf([ended], NOW, 100)[0]?.description).toBe('explore · 80 % of $1.00')
})

test('a pending task shows no share of its budget, and a running one the tool calls of all of its runs', () => {
  const work = { ...AGENT, budget: { toolCalls: 4 } }
  const pending = view('count', PENDING, {}, {}, { ...AGENT, budget: { cost: 1 } })
  const earlier = [{ ...FAILED, run: 1, usage: { toolCalls: 1, tokens: 0, cost: 0 } }]
  const live = { ...RUNNING, activity: 'thinking', toolCallIDs: new Set(['prt_1', 'prt_2']) }
  const running = view('count', PENDING, live, {}, { ...work, earlier })
  const details = sidebarOf([pending, running], NOW, WIDTH)?.rows.map(({ detail }) => detail)
  expect(details).toEqual(['75 % of 4 tool calls · thinking', 'waits for its turn'])
  const usage = { toolCalls: 3, tokens: 0, cost: 0 }
  const failed = view('count', { ...FAILED, usage }, {}, {}, work)
  expect(entriesOf([failed], NOW, 100)[0]?.description).toBe('explore · 75 % of 4 tool calls · bad request')
})

test('a task at work on another machine shows only the share of its minutes, because its session has no usage', () => {
  const place = { type: 'machine', name: 'large' }
  const state = { status: 'running', startedAt: NOW - 60_000, promptIDs: ['msg_1'] }
  const detailWith = (budget: object): string | undefined =>
    sidebarOf([view('count', state, RUNNING, {}, { ...AGENT, place, budget })], NOW, WIDTH)?.rows[0]?.detail
  expect(detailWith({ cost: 1, minutes: 4 })).toBe('25 % of 4 min')
  expect(detailWith({ cost: 1 })).toBeUndefined()
})

test('a task that has ended with a question shows it, in the sidebar and in the dialog', () => {
  const asks = view('look', { ...completed(NOW), question: 'Which\nport?' })
  expect(sidebarOf([asks], NOW, WIDTH)?.rows[0]).toMatchObject({ detail: 'asks: Which port?' })
  expect(entriesOf([asks], NOW, 100)[0]?.description).toContain('asks: Which port?')
})

test('a monitor is shown as one, with its notices, in the sidebar and in the dialog', () => {
  const work = {
    kind: 'command',
    command: 'tail -f log',
    timeoutMs: 0,
    notifyOn: ['FAIL'],
    notifyEvery: true,
  }
  const running = { status: 'running', startedAt: NOW - 5000 }
  const monitored = { matches: 9, notices: 3, at: NOW }
  const views = [
    view('watch the log', { ...running, monitored }, RUNNING, {}, work),
    view('watch CI', running, RUNNING, {}, work),
  ]
  const details = sidebarOf(views, NOW, WIDTH)?.rows.map(({ detail }) => detail)
  expect(details).toEqual(['monitor, 3 notices', 'monitor, 0 notices'])
  const [entry] = entriesOf(views, NOW, 100)
  expect(entry?.description).toBe('monitor, 3 notices')
})
