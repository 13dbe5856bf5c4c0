import { describe, expect, test } from 'vitest'
import type { Event } from '../../src/host/opencode.ts'
import { readTranscript } from '../../src/work/agent/transcript.ts'
import type { Task } from '../../src/task/task.ts'
import { createFakeStage } from '../harness/fake-stage.ts'
import { assistantMessage, compactionRequest, progressOf, userMessage } from '../harness/messages.ts'

const isTextPart = (event: Event, sessionID: string): boolean =>
  event.type === 'message.part.updated' &&
  event.properties.sessionID === sessionID &&
  event.properties.part.type === 'text' &&
  event.properties.part.text !== 'work'

test('a lost event of the final text does not lose the result', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  host.eventDelays = (event) => (isTextPart(event, sessionID) ? [] : [0])
  answer('work', { text: 'the result' })
  await clock.advance(2000)
  expect.soft(manager.get(id)).toMatchObject({ status: 'completed' })
  expect.soft(notices()[0]).toContain('the result')
})

test('a late event of the final text does not lose the result', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  host.eventDelays = (event) => (isTextPart(event, sessionID) ? [50] : [0])
  answer('work', { text: 'the result' })
  await clock.advance(2000)
  expect.soft(manager.get(id)).toMatchObject({ status: 'completed' })
  expect.soft(notices()[0]).toContain('the result')
})

test('a lost event of the final text does not put an earlier text in its place', async () => {
  const { clock, host, manager, launch, notices } = createFakeStage()
  let calls = 0
  const parent = host.script
  host.script = (request) =>
    request.parentSessionID === undefined
      ? parent(request)
      : ++calls === 1
        ? { text: 'I look first', tools: [{ name: 'read', args: {} }] }
        : { text: 'the result' }
  host.eventDelays = (event) =>
    event.type === 'message.part.updated' &&
    event.properties.part.type === 'text' &&
    event.properties.part.text === 'the result'
      ? []
      : [0]
  const { id } = await launch('work')
  await clock.advance(3000)
  expect.soft(manager.get(id)?.status).toBe('completed')
  expect.soft(manager.get(id)).not.toHaveProperty('incomplete')
  expect.soft(notices()[0]).toContain('the result')
})

test('repeated events of the last run do not count for the next run', async () => {
  const { clock, host, manager, launch, answer, answerAll } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  host.eventDelays = (event) =>
    event.type === 'message.updated' && event.properties.info.role === 'assistant' ? [0, 740] : [0]
  answer('work')
  await clock.advance(500)
  expect(manager.get(id)?.status).toBe('completed')
  await clock.advance(200)
  // As a host that is busy: each call takes 20 ms, so that the prompt arrives while late events still come.
  host.latencyMs = () => 20
  const next = manager.continue(id, 'more')
  await clock.advance(1000)
  await next
  answer('more', { text: 'second' })
  await clock.advance(3000)
  answerAll()
  const stored = readTranscript(host.messagesOf(sessionID), promptIDsOf(manager.get(id)))
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2, usage: stored.usage })
})

describe('a final answer that fills the context', () => {
  test('is the result, whether its messages are read or its events observed', () => {
    const user = userMessage('msg_1')
    const own = assistantMessage({ parentID: 'msg_1', id: 'msg_2', finish: 'stop' }, { text: 'the result' })
    const request = compactionRequest('msg_3')
    const summary = assistantMessage(
      { parentID: 'msg_3', id: 'msg_4', finish: 'stop', summary: true },
      { text: 'sum' },
    )
    const on = userMessage('msg_5')
    const last = assistantMessage(
      { parentID: 'msg_5', id: 'msg_6', finish: 'stop' },
      { text: 'Nothing left to do.' },
    )
    const all = [user, own, request, summary, on, last]
    const progress = progressOf(all, 'msg_1')
    expect(readTranscript(all, ['msg_1']).text).toBe('the result')
    expect(progress.transcript()?.text ?? 'the result').toBe('the result')
  })
})

test('the report of an ended run has the usage of all its steps', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  let calls = 0
  const parent = host.script
  host.script = (request) =>
    request.parentSessionID === undefined
      ? parent(request)
      : ++calls < 3
        ? { tools: [{ name: 'read', args: {} }] }
        : { text: 'done' }
  const { id } = await launch('work')
  await clock.advance(3000)
  const { task, transcript } = await manager.output(id)
  expect(task).toMatchObject({ status: 'completed', usage: { toolCalls: 2 } })
  expect(transcript?.usage).toEqual((task as { usage: unknown }).usage)
})
test('a timed out run is reported with its last text, although the event of the text was lost', async () => {
  const { clock, host, manager, launch, notices } = createFakeStage({ timeoutMs: 5000 })
  const parent = host.script
  let calls = 0
  host.script = (request) =>
    request.parentSessionID === undefined
      ? parent(request)
      : { text: `step ${++calls}`, tools: [{ name: 'read', args: {} }] }
  host.runTool = () => (calls === 2 ? new Promise(() => {}) : 'ok')
  host.eventDelays = (event) =>
    event.type === 'message.part.updated' &&
    event.properties.part.type === 'text' &&
    event.properties.part.text === 'step 2'
      ? []
      : [0]
  const { id } = await launch('work')
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  expect(notices()[0]).toContain('step 2')
})

test('a late event of a step does not change the usage of the run', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  let calls = 0
  const parent = host.script
  host.script = (request) =>
    request.parentSessionID === undefined
      ? parent(request)
      : ++calls === 1
        ? { tools: [{ name: 'read', args: {} }] }
        : { text: 'done' }
  const { id, sessionID } = await launch('work')
  host.eventDelays = (event) =>
    event.type === 'message.updated' &&
    event.properties.info.role === 'assistant' &&
    event.properties.info.sessionID === sessionID &&
    event.properties.info.finish === 'tool-calls'
      ? [5]
      : [0]
  await clock.advance(3000)
  const stored = readTranscript(host.messagesOf(sessionID), promptIDsOf(manager.get(id)))
  expect(manager.get(id)).toMatchObject({ status: 'completed', usage: stored.usage })
})

test.each([1, 2, 3])('the usage of a run counts its step %i, of which all events were lost', async (lost) => {
  const { clock, host, manager, launch } = createFakeStage()
  let calls = 0
  const parent = host.script
  host.script = (request) => {
    if (request.parentSessionID === undefined) return parent(request)
    calls += 1
    return calls < 4 ? { tools: [{ name: 'read', args: {} }] } : { text: 'done' }
  }
  const { id, sessionID } = await launch('work')
  const steps: string[] = []
  host.eventDelays = ({ type, properties }) => {
    if (type === 'message.updated' && properties.info.role === 'assistant') {
      const { id: messageID } = properties.info
      if (properties.info.sessionID === sessionID && !steps.includes(messageID)) steps.push(messageID)
      return steps.indexOf(messageID) === lost - 1 ? [] : [0]
    }
    return type === 'message.part.updated' && steps.indexOf(properties.part.messageID) === lost - 1 ? [] : [0]
  }
  await clock.advance(3000)
  expect(steps).toHaveLength(4)
  const stored = readTranscript(host.messagesOf(sessionID), promptIDsOf(manager.get(id)))
  expect(stored.usage.toolCalls).toBe(3)
  expect(manager.get(id)).toMatchObject({ status: 'completed', usage: stored.usage })
})

function promptIDsOf(task: Task | undefined): readonly string[] {
  return task?.kind === 'agent' ? task.promptIDs : []
}
