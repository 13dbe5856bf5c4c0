import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import type { Part } from '../../src/host/opencode.ts'
import { Timeline } from '../../src/timeline.ts'
import { TaskStore } from '../../src/task/store.ts'
import { NO_USAGE } from '../../src/task/state.ts'
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

test('a timeline has each transition of its task, the first output of its model, and each tool', async () => {
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
  // Two parallel tool calls, whose updates arrive alternately.
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
  const text = storyText({ task, story: timeline.of('a'), at: clock.now() })
  expect(text).toContain('  +0.0s  running\n  +1.5s  the model answers\n')
  expect(text).toContain('tool read: running\n')
  expect(text).toContain('tool read: running (2 times)\n')
})

test('a timeline shows a message on one line, and shortened', () => {
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
  const text = storyText({ task, story: timeline.of('a'), at: clock.now() })
  expect(text).not.toContain('\n  +0.0s  completed')
  expect(text).toContain('provider retry 1: busy 100 +0.0s completed 夜')
  // OpenCode cuts the end of a longer tool output.
  expect(Buffer.byteLength(text)).toBeLessThan(51_200)
})

test('a timeline keeps its first and last steps, and reports the number of steps left out', () => {
  const { clock, store, timeline, add } = createStories()
  add('a')
  for (let step = 1; step <= 150; step += 1) timeline.add('a', { type: 'idle', detail: `step ${step}` })
  expect(timeline.of('a')).toMatchObject({ forgotten: 50 })
  const task = store.get('a')
  if (!task) throw new Error('the task is gone')
  const text = storyText({ task, story: timeline.of('a'), at: clock.now() })
  expect(text).toContain('step 20\n  … 50 steps left out …\n  +0.0s  step 71\n')
  expect(text).toContain('step 150\n')
})

test('Timeline keeps the steps of unfinished tasks, and of the last hundred ended ones', () => {
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

test('late steps of tasks that ended long ago do not accumulate', () => {
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
