import { expect, test } from 'vitest'
import { keyOf, piggybackKey } from '../../../src/parent/notice.ts'
import { isUnread, readingsOf } from '../../../src/session-timeline/end-readings.ts'
import {
  filesRead,
  taskTimeline,
  turnsOf,
  type ReadTask,
} from '../../../src/session-timeline/task-timeline.ts'
import { partID } from '../../../src/task/id.ts'
import type { StoredMessage } from '../../../src/host/opencode.ts'
import { assistantMessage, userMessage } from '../../harness/messages.ts'
import {
  cancelledTask,
  completedTask,
  failedTask,
  pendingCommand,
  pendingTask,
  USAGE,
} from '../../harness/tasks.ts'

const NOTHING = { readings: readingsOf([]), readAt: 100_000, textBytes: 1000, redact: false }

function read(changes: Partial<ReadTask>): ReadTask {
  return { task: completedTask(), steps: [], createdAt: 900, messages: [], isLeft: false, ...changes }
}

function textMessage(id: string, created: number, text: string, key = id): StoredMessage {
  const { info } = userMessage(id, created)
  const part = { id: partID(key, created), sessionID: info.sessionID, messageID: id }
  return { info, parts: [{ ...part, type: 'text', text }] }
}

test('a task waits until its start and works until its end', () => {
  const { waitingMs, workingMs, usage, status } = taskTimeline(read({}), NOTHING)
  expect({ waitingMs, workingMs, usage, status }).toEqual({
    waitingMs: 1000,
    workingMs: 72_000,
    usage: USAGE,
    status: 'completed',
  })
})

test('a task that waits at the time of reading waits until then', () => {
  expect(taskTimeline(read({ task: pendingTask() }), NOTHING).waitingMs).toBe(99_000)
})

test('a task names the tasks for which it waits, and after their ends those whose results it has', () => {
  const after = ['bg_00000001']
  expect(taskTimeline(read({ task: { ...pendingTask(), after } }), NOTHING).after).toEqual(after)
  expect(taskTimeline(read({ task: { ...completedTask(), waitedFor: after } }), NOTHING).after).toEqual(after)
  expect(taskTimeline(read({}), NOTHING)).not.toHaveProperty('after')
})

test('the runs of a task follow each other, and a later one is marked', () => {
  const { run, createdAt, promptIDs, status, startedAt, endedAt, usage } = completedTask() as never as {
    run: number
    createdAt: number
    promptIDs: [string]
    status: 'completed'
    startedAt: number
    endedAt: number
    usage: typeof USAGE
  }
  const earlier = [{ run, createdAt, promptIDs, status, startedAt, endedAt, usage }]
  const task = {
    ...completedTask({ run: 2, createdAt: 80_000, earlier }),
    startedAt: 81_000,
    endedAt: 90_000,
  }
  const timeline = taskTimeline(read({ task }), NOTHING)
  expect(timeline.runs.map(({ from, to }) => [from, to])).toEqual([
    [1_000, 74_000],
    [80_000, 90_000],
  ])
  expect(timeline.marks).toEqual([{ type: 'continued', at: 80_000 }])
  expect(timeline.usage.tokens).toBe(2 * USAGE.tokens)
})

test('the runs that a record has lost are unknown since the creation of the session', () => {
  const task = completedTask({ run: 12, createdAt: 50_000 })
  const { runs, unknown } = taskTimeline(read({ task }), NOTHING)
  expect(runs[0]).toEqual({
    run: 11,
    from: 900,
    to: 50_000,
    phases: [{ type: 'unknown', from: 900, to: 50_000 }],
  })
  expect(unknown[0]).toBe('its first runs (a record keeps the newest run and some before it)')
})

test('a failed run has its reason', () => {
  const { runs } = taskTimeline(read({ task: failedTask('timeout', 'too late') }), NOTHING)
  expect(runs[0]?.reason).toBe('timeout')
})

test('a notice and its reading are found in the messages of the parent, also in a message of the user', () => {
  const task = completedTask()
  for (const key of [keyOf(task, 'ended'), piggybackKey(keyOf(task, 'ended'))]) {
    const parent = [
      textMessage('msg_1', 75_000, 'the notice', key),
      assistantMessage({ id: 'msg_2', parentID: 'msg_1', time: { created: 76_000, completed: 77_000 } }),
    ]
    const context = { ...NOTHING, readings: readingsOf(parent) }
    expect(taskTimeline(read({}), context).marks).toEqual([
      { type: 'noticed', at: 75_000 },
      { type: 'read', at: 76_000 },
    ])
  }
})

test('an end that a tool call has returned was read when the call ended', () => {
  const { id, run, status } = completedTask()
  const call = assistantMessage({ parentID: 'msg_0' }, { tool: 'background_output' })
  const [part] = call.parts
  if (part?.type !== 'tool' || part.state.status !== 'completed') throw new Error('no tool call')
  part.state.metadata['backgroundRead'] = `${id} ${run} ${status}`
  part.state.time = { start: 75_000, end: 75_500 }
  const context = { ...NOTHING, readings: readingsOf([call]) }
  expect(taskTimeline(read({}), context).marks).toEqual([{ type: 'read', at: 75_500 }])
})

test('an end is read by what the messages say, whatever the clocks say', () => {
  const task = completedTask()
  const notice = textMessage('msg_1', 500, 'the notice', keyOf(task, 'ended'))
  const answer = assistantMessage({ parentID: 'msg_1', time: { created: 600, completed: 700 } })
  expect(isUnread(readingsOf([notice, answer]), task)).toBe(false)
  expect(isUnread(readingsOf([notice]), task)).toBe(true)
  expect(isUnread(readingsOf([]), cancelledTask('user'))).toBe(false)
  expect(isUnread(readingsOf([]), pendingTask())).toBe(false)
})

test('the texts are the prompt, the result and the story, each cut with a mark', () => {
  const messages = [
    textMessage('msg_prompt', 1_000, 'Find them.'),
    assistantMessage(
      { parentID: 'msg_prompt', finish: 'stop' },
      { text: `They are in src/auth. ${'x'.repeat(5_000)}` },
    ),
  ]
  const steps = [{ type: 'queued', at: 1_000, times: 1 } as const]
  const { texts } = taskTimeline(read({ messages, steps }), NOTHING)
  expect(texts?.prompt).toBe('Find them.')
  expect(texts?.result).toMatch(/^They are in src\/auth\..*bytes left out/s)
  expect(texts?.result.length).toBeLessThan(1100)
  expect(texts?.story).toEqual(['1970-01-01T00:00:01Z queued'])
})

test('a command has its line, and its output from the message in its session', () => {
  const task = { ...pendingCommand(), status: 'completed', startedAt: 1, endedAt: 2, usage: USAGE } as const
  const { texts } = taskTimeline(read({ task, messages: [textMessage('msg_1', 2, 'all green')] }), NOTHING)
  expect(texts).toMatchObject({ prompt: 'npm test', result: 'all green' })
})

test('a redacted timeline has no text', () => {
  const timeline = taskTimeline(read({}), { ...NOTHING, redact: true })
  expect(timeline.texts).toBeUndefined()
  expect(JSON.stringify(timeline)).not.toMatch(/find the auth|Find them/)
})

test('what OpenCode did not list is named as unknown', () => {
  expect(taskTimeline(read({ messages: undefined }), NOTHING).unknown).toContain(
    'its messages, which OpenCode did not list',
  )
})

test('waits that a record cannot tell are named with why: it keeps 40 steps, or has none', () => {
  const waitsOf = (count: number): readonly string[] => {
    const steps = Array.from({ length: count }, (_, index) => ({
      type: 'answering' as const,
      at: 5000 + index,
      times: 1,
    }))
    return taskTimeline(read({ steps }), NOTHING).unknown
  }
  expect(waitsOf(40)).toEqual([
    'waits for permissions and for the provider before its newest steps (a record keeps 40 steps)',
  ])
  expect(waitsOf(39)).toEqual([])
  expect(waitsOf(0)).toEqual([
    'waits for permissions and for the provider (its record has no steps that can be read)',
  ])
})

test('a turn that still runs ends when it is read, and so do its tool calls', () => {
  const open = assistantMessage({ parentID: 'msg_1', time: { created: 5 } }, { tool: 'bash', error: 'no' })
  expect(turnsOf([open], 50)).toEqual([
    {
      from: 5,
      to: 50,
      model: 'mock/m1',
      tokens: 18,
      cost: 0.01,
      tools: [{ tool: 'bash', from: 1, to: 2, failed: true }],
    },
  ])
})

/** A turn without an end, with a tool call that still runs. */
function openTurn(created: number): StoredMessage {
  const message = assistantMessage({ parentID: 'msg_1', time: { created } }, { tool: 'bash' })
  const [part] = message.parts
  if (part?.type !== 'tool') throw new Error('no tool call')
  part.state = { status: 'running', input: {}, time: { start: created + 1000 } }
  return message
}

test('a turn that a crash has cut off ends at its last sign, or with its task', () => {
  const ends = (messages: readonly StoredMessage[]): number[][] =>
    taskTimeline(read({ messages }), NOTHING).turns.map(({ to, tools }) => [to, tools[0]?.to ?? 0])
  const next = assistantMessage({ parentID: 'msg_1', time: { created: 60_000, completed: 70_000 } })
  expect(ends([openTurn(5_000), next])[0]).toEqual([6_000, 6_000])
  expect(ends([openTurn(5_000)])).toEqual([[74_000, 74_000]])
})

test('what became of a task is unknown since its last sign where the process that ran it is gone', () => {
  const task = { ...pendingTask(), status: 'running', startedAt: 2_000 } as const
  const messages = [openTurn(5_000)]
  const { runs, turns, workingMs, unknown } = taskTimeline(read({ task, messages, isLeft: true }), NOTHING)
  expect(runs[0]?.phases.slice(1)).toEqual([
    { type: 'working', from: 2_000, to: 6_000 },
    { type: 'unknown', from: 6_000, to: 100_000 },
  ])
  expect(turns[0]?.to).toBe(6_000)
  expect(workingMs).toBe(4_000)
  expect(unknown).toContain('what became of it (the OpenCode that ran it is gone)')
})

test('no turn and no tool call ends before it began', () => {
  const later = assistantMessage({ parentID: 'msg_1', time: { created: 60 } })
  expect(turnsOf([later], 50)).toMatchObject([{ from: 60, to: 60 }])
})

test('the read files are those of the tool `read`, once for each call that has not failed', () => {
  const message = assistantMessage(
    { parentID: 'msg_1' },
    { tool: 'read' },
    { tool: 'read' },
    { tool: 'read', error: 'File not found' },
    { tool: 'bash' },
  )
  for (const part of message.parts)
    if (part.type === 'tool') part.state.input['filePath'] = '/project/README.md'
  expect(filesRead([message])).toEqual(['/project/README.md', '/project/README.md'])
})
