import { expect, test } from 'vitest'
import type { StoredMessage } from '../../src/host/opencode.ts'
import { judge } from '../../src/work/agent/ending.ts'
import { readTranscript, type Transcript } from '../../src/work/agent/transcript.ts'
import { createFakeStage } from '../harness/fake-stage.ts'
import { assistantMessage, compactionRequest, progressOf, userMessage } from '../harness/messages.ts'

/** Expects the observed progress to leave a history to a read, or to show the same end. */
function expectSame(messages: readonly StoredMessage[], by: 'events' | 'read'): void {
  const read = readTranscript(messages, ['msg_5'])
  const observed = progressOf(messages, 'msg_5').transcript()
  const shown = (transcript: Transcript): object => ({
    verdict: judge(transcript),
    steps: transcript.steps,
    text: transcript.text,
  })
  expect(observed ? shown(observed) : 'read').toEqual(by === 'events' ? shown(read) : 'read')
}

test('ids that go back in time do not hide a fallback to another model', () => {
  const error = { name: 'APIError' as const, data: { message: 'too purple', isRetryable: false } }
  expectSame(
    [
      userMessage('msg_5', 0),
      assistantMessage({ parentID: 'msg_5', id: 'msg_6', error }),
      userMessage('msg_1', 100),
      assistantMessage(
        { parentID: 'msg_1', id: 'msg_2', finish: 'stop', time: { created: 110, completed: 120 } },
        { text: 'the result' },
      ),
    ],
    'read',
  )
})

test('the observed progress agrees with a read if a person writes while a context is summarised', () => {
  expectSame(
    [
      userMessage('msg_5'),
      assistantMessage({ parentID: 'msg_5', id: 'msg_6' }),
      compactionRequest('msg_7'),
      assistantMessage({ parentID: 'msg_7', id: 'msg_8', finish: 'stop', summary: true }, { text: 'SUM' }),
      userMessage('msg_9', 50),
      assistantMessage({ parentID: 'msg_9', id: 'msg_91', finish: 'stop' }, { text: 'A' }),
      userMessage('msg_92', 500),
      assistantMessage({ parentID: 'msg_92', id: 'msg_93', finish: 'stop' }, { text: 'B' }),
    ],
    'read',
  )
})

test('the observed progress agrees with a read after two compactions', () => {
  expectSame(
    [
      userMessage('msg_5'),
      assistantMessage(
        { parentID: 'msg_5', id: 'msg_6', finish: 'tool-calls' },
        { text: 'one' },
        { tool: 'read' },
      ),
      compactionRequest('msg_7'),
      assistantMessage({ parentID: 'msg_7', id: 'msg_8', finish: 'stop', summary: true }, { text: 'SUM' }),
      userMessage('msg_81', 50),
      assistantMessage(
        { parentID: 'msg_81', id: 'msg_82', finish: 'tool-calls' },
        { text: 'two' },
        { tool: 'read' },
      ),
      compactionRequest('msg_83'),
      assistantMessage({ parentID: 'msg_83', id: 'msg_84', finish: 'stop', summary: true }, { text: 'SUM' }),
      userMessage('msg_85', 50),
      assistantMessage({ parentID: 'msg_85', id: 'msg_86', finish: 'stop' }, { text: 'three' }),
    ],
    'events',
  )
})

test('the observed progress agrees with a read if a person compacts and writes after the end of the run', () => {
  expectSame(
    [
      userMessage('msg_5'),
      assistantMessage({ parentID: 'msg_5', id: 'msg_6', finish: 'stop' }, { text: 'the result' }),
      compactionRequest('msg_7', false),
      assistantMessage({ parentID: 'msg_7', id: 'msg_8', finish: 'stop', summary: true }, { text: 'SUM' }),
      userMessage('msg_9', 500),
      assistantMessage({ parentID: 'msg_9', id: 'msg_91', finish: 'stop' }, { text: 'to a person' }),
    ],
    'read',
  )
})

test('the observed progress agrees with a read if the answer after a compaction is aborted or fails', () => {
  for (const name of ['MessageAbortedError', 'APIError'] as const)
    expectSame(
      [
        userMessage('msg_5'),
        assistantMessage({ parentID: 'msg_5', id: 'msg_6' }, { text: 'first' }),
        compactionRequest('msg_7'),
        assistantMessage({ parentID: 'msg_7', id: 'msg_8', finish: 'stop', summary: true }, { text: 'SUM' }),
        userMessage('msg_9', 50),
        assistantMessage(
          { parentID: 'msg_9', id: 'msg_91', error: { name, data: { message: 'x' } } as never },
          { text: 'half' },
        ),
      ],
      'read',
    )
})

test('the progress of a task shows its own last text while its context is summarised', () => {
  const progress = progressOf(
    [
      userMessage('msg_5'),
      assistantMessage({ parentID: 'msg_5', id: 'msg_6' }, { text: 'own words' }),
      compactionRequest('msg_7'),
      assistantMessage(
        { parentID: 'msg_7', id: 'msg_8', time: { created: 1 }, summary: true },
        { text: 'SUMMARY' },
      ),
    ],
    'msg_5',
  )
  expect(progress.summary?.text).toBe('own words')
})

test('the progress of a task counts the steps whose events were lost', async () => {
  const { clock, host, manager, launch } = createFakeStage()
  const parent = host.script
  let calls = 0
  host.script = (request) =>
    request.parentSessionID === undefined
      ? parent(request)
      : { text: `step ${++calls}`, tools: [{ name: 'read', args: {} }] }
  host.runTool = () => (calls === 3 ? new Promise(() => {}) : 'ok')
  const { id } = await launch('work')
  host.muteEvents = true
  const isSecond = (): boolean => calls >= 2
  while (!isSecond()) await clock.advance(1)
  host.muteEvents = false
  await clock.advance(2000)
  const { transcript } = await manager.output(id)
  expect(transcript?.usage.toolCalls).toBe(3)
  host.abortAll()
  await clock.advance(5000)
})

test('late events of the last run do not use up the steps of the next run', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  host.agents = host.agents.map((each) => (each.name === 'general' ? { ...each, steps: 2 } : each))
  const { id } = await launch('work')
  await clock.advance(100)
  host.eventDelays = (event) =>
    event.type === 'message.updated' && event.properties.info.role === 'assistant' ? [0, 740] : [0]
  answer('work')
  await clock.advance(700)
  host.latencyMs = () => 20
  const next = manager.continue(id, 'more')
  await clock.advance(1000)
  await next
  answer('more', { text: 'second' })
  await clock.advance(3000)
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
  expect(manager.get(id)).not.toHaveProperty('incomplete')
})
