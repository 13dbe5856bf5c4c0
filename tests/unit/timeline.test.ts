import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import type { Part } from '../../src/host/opencode.ts'
import { Timeline } from '../../src/timeline.ts'
import { TaskStore } from '../../src/task/store.ts'
import { NO_USAGE } from '../../src/task/task.ts'
import { storyText } from '../../src/tools/render/story-text.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { pendingTask } from '../harness/tasks.ts'

function createStories() {
  const clock = new ManualClock()
  const store = new TaskStore()
  const lines: string[] = []
  const log = { debug: (line: string) => void lines.push(line), warn: () => {} }
  const timeline = new Timeline({ clock, log, store })
  store.subscribe((task, event) => timeline.observeTask(task, event))
  const add = (id: string): void =>
    store.add(pendingTask({ id, sessionID: `ses_${id}`, createdAt: clock.now() }))
  return { clock, store, timeline, lines, add }
}

const whats = (timeline: Timeline, id: string): readonly string[] =>
  timeline.of(id)?.steps.map(stepText) ?? []

test('a story has each change of its task, the first sign of its model, and each tool', async () => {
  const { clock, store, timeline, lines, add } = createStories()
  add('a')
  store.dispatch('a', { type: 'slotTaken', at: 1 })
  store.dispatch('a', { type: 'prompted', at: 2 })
  const part = (changes: object): Part =>
    ({ id: 'prt_1', sessionID: 'ses_a', messageID: 'msg_answer', ...changes }) as Part
  timeline.observePart(part({ messageID: 'msg_prompt', type: 'text', text: 'our own prompt' }))
  timeline.observePart(part({ type: 'step-start' }))
  await clock.advance(1500)
  timeline.observePart(part({ type: 'text', text: 'well' }))
  timeline.observePart(part({ type: 'text', text: 'well, well' }))
  const toolPart = (id: string, status: string): Part =>
    part({ id, type: 'tool', tool: 'read', state: { status } })
  for (const status of ['pending', 'running', 'running', 'completed'])
    timeline.observePart(toolPart('prt_1', status))
  // Two at once, of which the host tells by turns, as their output comes.
  for (const id of ['prt_2', 'prt_3', 'prt_2', 'prt_3']) timeline.observePart(toolPart(id, 'running'))
  timeline.observePart(
    part({ sessionID: 'ses_other', type: 'tool', tool: 'read', state: { status: 'running' } }),
  )
  const failure = { reason: 'error' as const, message: 'too purple' }
  const outcome = { status: 'failed' as const, failure, text: '', usage: NO_USAGE }
  store.dispatch('a', { type: 'ended', at: 3, outcome })
  expect(whats(timeline, 'a')).toEqual([
    'starting',
    'running',
    'the model answers',
    'tool read: running',
    'tool read: completed',
    'tool read: running',
    'failed: error: too purple',
  ])
  expect(lines[0]).toBe('a: starting')
  const task = store.get('a')
  if (!task) throw new Error('the task is gone')
  const text = storyText(task, timeline.of('a'), clock.now())
  expect(text).toContain('  +0.0s  running\n  +1.5s  the model answers\n')
  expect(text).toContain('tool read: running\n')
  expect(text).toContain('tool read: running (2 times)\n')
})

test('what others say is one line of a story, and not a long one', () => {
  const { clock, store, timeline, add } = createStories()
  add('a')
  for (let step = 1; step <= 100; step += 1)
    timeline.add('a', {
      type: 'retry',
      attempt: 1,
      message: `busy ${step}\n  +0.0s  completed ${'夜'.repeat(2000)}`,
    })
  const task = store.get('a')
  if (!task) throw new Error('the task is gone')
  const text = storyText(task, timeline.of('a'), clock.now())
  expect(text).not.toContain('\n  +0.0s  completed')
  expect(text).toContain('provider retry 1: busy 100 +0.0s completed 夜')
  // Of what is longer, the host leaves out the end.
  expect(Buffer.byteLength(text)).toBeLessThan(51_200)
})

test('a story keeps its beginning and its end, and says how much it has left out', () => {
  const { clock, store, timeline, add } = createStories()
  add('a')
  for (let step = 1; step <= 150; step += 1) timeline.add('a', { type: 'idle', detail: `step ${step}` })
  expect(timeline.of('a')).toMatchObject({ forgotten: 50 })
  const task = store.get('a')
  if (!task) throw new Error('the task is gone')
  const text = storyText(task, timeline.of('a'), clock.now())
  expect(text).toContain('step 20\n  … 50 steps left out …\n  +0.0s  step 71\n')
  expect(text).toContain('step 150\n')
})

test('the stories of unfinished tasks are kept, and of ended ones the last hundred', () => {
  const { store, timeline, add } = createStories()
  for (let number = 0; number < 120; number += 1) {
    add(`task ${number}`)
    store.dispatch(`task ${number}`, { type: 'slotTaken', at: 0 })
  }
  const outcome = { status: 'completed' as const, text: '', usage: NO_USAGE }
  for (let number = 1; number < 120; number += 1)
    store.dispatch(`task ${number}`, { type: 'ended', at: 0, outcome })
  expect(timeline.of('task 0')).toBeDefined()
  expect(timeline.of('task 19')).toBeUndefined()
  expect(timeline.of('task 20')).toBeDefined()
})

test('what is still told of tasks that have ended long ago does not pile up', () => {
  const { store, timeline, add } = createStories()
  const outcome = { status: 'completed' as const, text: '', usage: NO_USAGE }
  for (let number = 0; number < 300; number += 1) {
    add(`task ${number}`)
    store.dispatch(`task ${number}`, { type: 'slotTaken', at: 0 })
    store.dispatch(`task ${number}`, { type: 'ended', at: 0, outcome })
  }
  for (let number = 0; number < 300; number += 1) timeline.addNotice(`task ${number}`, 'settled')
  const kept = Array.from({ length: 300 }, (_, number) => timeline.of(`task ${number}`)).filter(Boolean)
  expect(kept).toHaveLength(100)
})
