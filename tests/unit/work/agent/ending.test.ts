import { describe, expect, test } from 'vitest'
import type { StoredMessage } from '../../../../src/host/opencode.ts'
import { judge as judgeTranscript, type Ending, type Verdict } from '../../../../src/work/agent/ending.ts'
import { readTranscript } from '../../../../src/work/agent/transcript.ts'
import { assistantMessage, compactionRequest, userMessage } from '../../../harness/messages.ts'

const PROMPT = 'msg_prompt'

const prompt = userMessage(PROMPT)
const open = { created: 1 }

function judge(
  messages: readonly StoredMessage[],
  promptIDs: readonly string[],
  error?: string,
  maxSteps?: number,
): Verdict | undefined {
  return judgeTranscript(readTranscript(messages, promptIDs), error, maxSteps)
}

function endingOf(...evidence: Parameters<typeof judge>): Ending | undefined {
  return judge(...evidence)?.ending
}

describe('a run has not ended', () => {
  test('while no message is stored, or none answers its prompt', () => {
    expect(endingOf([], [PROMPT])).toBeUndefined()
    expect(endingOf([prompt], [PROMPT])).toBeUndefined()
  })

  test('while its answer is not final, because an error may still be written into it', () => {
    expect(
      endingOf([prompt, assistantMessage({ parentID: PROMPT, time: open, finish: 'stop' })], [PROMPT]),
    ).toBeUndefined()
  })

  test('while its last step has a tool call, whatever the finish of that step', () => {
    const calls = assistantMessage({ parentID: PROMPT, finish: 'tool-calls' }, { tool: 'read' })
    const stop = assistantMessage({ parentID: PROMPT, finish: 'stop' }, { text: 'x' }, { tool: 'read' })
    expect(endingOf([prompt, calls], [PROMPT])).toBeUndefined()
    expect(endingOf([prompt, stop], [PROMPT])).toBeUndefined()
  })

  test('while the answer to a message that another sender wrote meanwhile is not final', () => {
    const step = assistantMessage({ parentID: PROMPT, id: 'msg_1', finish: 'tool-calls' }, { tool: 'read' })
    const other = assistantMessage({ parentID: 'msg_user', id: 'msg_2', time: open }, { text: 'hel' })
    expect(endingOf([prompt, step, userMessage('msg_user'), other], [PROMPT])).toBeUndefined()
  })

  test('by an answer from before its prompt', () => {
    const old = assistantMessage({ parentID: 'msg_old', finish: 'stop' }, { text: 'old' })
    expect(endingOf([userMessage('msg_old'), old, prompt], [PROMPT])).toBeUndefined()
  })
})

describe('a run has ended', () => {
  test('with its own answer, despite a later answer to another message', () => {
    const own = assistantMessage({ parentID: PROMPT, id: 'msg_1', finish: 'stop' }, { text: 'mine' })
    const other = assistantMessage({ parentID: 'msg_user', id: 'msg_2', finish: 'stop' }, { text: 'hello' })
    const ending = endingOf([prompt, own, userMessage('msg_user'), other], [PROMPT])
    expect(ending).toMatchObject({ type: 'answered', text: 'mine', usage: { tokens: 18 } })
  })

  test('with the answer to another message that arrived before its own was complete', () => {
    const step = assistantMessage({ parentID: PROMPT, id: 'msg_1', finish: 'tool-calls' }, { tool: 'read' })
    const both = assistantMessage({ parentID: 'msg_user', id: 'msg_2', finish: 'stop' }, { text: 'for both' })
    const other = userMessage('msg_user')
    expect(endingOf([prompt, step, other, both], [PROMPT])).toMatchObject({
      type: 'answered',
      text: 'for both',
    })
    expect(endingOf([prompt, other, both], [PROMPT])).toMatchObject({ type: 'answered', text: 'for both' })
  })

  test('with a final answer, whose usage sums all steps', () => {
    const step = assistantMessage({ parentID: PROMPT, id: 'msg_1', finish: 'tool-calls' }, { tool: 'read' })
    const last = assistantMessage({ parentID: PROMPT, id: 'msg_2', finish: 'stop' }, { text: 'found' })
    expect(endingOf([prompt, step, last], [PROMPT])).toEqual({
      type: 'answered',
      text: 'found',
      usage: { toolCalls: 1, tokens: 36, cost: 0.02 },
    })
  })

  test('with an answer that its length limit cut off', () => {
    const answer = assistantMessage({ parentID: PROMPT, finish: 'length' }, { text: 'long' })
    expect(endingOf([prompt, answer], [PROMPT])).toMatchObject({ type: 'answered', text: 'long' })
  })

  test('with a question, unless its length limit cut the answer off', () => {
    const asking = (finish: string): Ending | undefined => {
      const answer = { text: 'Done.\n\n<question>Which port?</question>' }
      return endingOf([prompt, assistantMessage({ parentID: PROMPT, finish }, answer)], [PROMPT])
    }
    expect(asking('stop')).toMatchObject({ type: 'answered', question: 'Which port?' })
    expect(asking('length')).toMatchObject({ type: 'answered', incomplete: 'length' })
    expect(asking('length')).not.toHaveProperty('question')
  })

  test('as a failure, with the text of the error', () => {
    const error = { name: 'APIError' as const, data: { message: 'bad key', isRetryable: false } }
    const answer = assistantMessage({ parentID: PROMPT, error })
    expect(endingOf([prompt, answer], [PROMPT])).toMatchObject({
      type: 'failed',
      failure: { reason: 'error', message: 'bad key' },
    })
  })

  test('as a failure, when OpenCode reported an error that no message contains', () => {
    expect(endingOf([prompt], [PROMPT], 'Model not found')).toMatchObject({
      type: 'failed',
      failure: { reason: 'error', message: 'Model not found' },
    })
  })

  test('as empty, without text and without a tool call', () => {
    expect(
      endingOf([prompt, assistantMessage({ parentID: PROMPT, finish: 'stop' })], [PROMPT]),
    ).toMatchObject({
      type: 'failed',
      failure: { reason: 'empty' },
    })
  })

  test('with its last text, when it used tools and ended without text', () => {
    const step = assistantMessage(
      { parentID: PROMPT, finish: 'tool-calls' },
      { text: 'reading' },
      { tool: 'read' },
    )
    const last = assistantMessage({ parentID: PROMPT, finish: 'stop' })
    expect(endingOf([prompt, step, last], [PROMPT])).toMatchObject({ type: 'answered', text: 'reading' })
  })

  test('as aborted, with its partial text', () => {
    const error = { name: 'MessageAbortedError' as const, data: { message: 'Aborted' } }
    const answer = assistantMessage({ parentID: PROMPT, error }, { text: 'half' })
    expect(endingOf([prompt, answer], [PROMPT])).toMatchObject({ type: 'aborted', text: 'half' })
  })

  test('as aborted, when its last message has neither finish nor error and the session is idle', () => {
    expect(judge([prompt, assistantMessage({ parentID: PROMPT })], [PROMPT])).toMatchObject({
      ending: { type: 'aborted' },
      holds: 'ifIdle',
    })
  })

  test('as a failure, when the user rejected a permission and the session is idle', () => {
    const step = assistantMessage(
      { parentID: PROMPT, finish: 'tool-calls' },
      { tool: 'bash', error: 'rejected' },
    )
    expect(judge([prompt, step], [PROMPT])).toMatchObject({
      ending: { type: 'failed', failure: { reason: 'error', message: 'rejected' } },
      holds: 'ifIdle',
    })
  })
})

describe('a run whose context was full', () => {
  const overflowed = assistantMessage({ parentID: PROMPT, id: 'msg_1' })
  const request = compactionRequest('msg_compact')
  const summary = { parentID: 'msg_compact', id: 'msg_2', summary: true }
  const summarised = assistantMessage({ ...summary, finish: 'stop' }, { text: 'SUMMARY' })
  const onwards = userMessage('msg_continue', 3)

  test('has not ended during its compaction, nor during its continuation', () => {
    const under = assistantMessage({ ...summary, time: open })
    expect(endingOf([prompt, overflowed, request], [PROMPT], 'context full')).toBeUndefined()
    expect(endingOf([prompt, overflowed, request, under], [PROMPT], 'context full')).toBeUndefined()
    expect(endingOf([prompt, overflowed, request, summarised], [PROMPT], 'context full')).toBeUndefined()
    expect(
      endingOf([prompt, overflowed, request, summarised, onwards], [PROMPT], 'context full'),
    ).toBeUndefined()
  })

  test('ends with the answer to the message that continued it, not with the summary', () => {
    const last = assistantMessage({ parentID: 'msg_continue', finish: 'stop' }, { text: 'done after all' })
    const all = [prompt, overflowed, request, summarised, onwards, last]
    expect(endingOf(all, [PROMPT], 'context full')).toMatchObject({
      type: 'answered',
      text: 'done after all',
    })
  })

  test('fails with the error of the summary when the summary did not fit either', () => {
    const error = { name: 'ContextOverflowError' as const, data: { message: 'too long' } }
    const failed = assistantMessage({ ...summary, finish: 'error', error })
    expect(endingOf([prompt, overflowed, request, failed], [PROMPT])).toMatchObject({
      type: 'failed',
      failure: { reason: 'error', message: 'too long' },
    })
  })

  test('ends with its own answer, despite a compaction that the user requested', () => {
    const answer = assistantMessage({ parentID: PROMPT, finish: 'stop' }, { text: 'found' })
    const byHand = compactionRequest('msg_compact', false)
    expect(endingOf([prompt, answer, byHand, summarised], [PROMPT])).toMatchObject({
      type: 'answered',
      text: 'found',
    })
  })
})

describe('an answer that fills the context', () => {
  const summary = { id: 'msg_summary', parentID: 'msg_compact', summary: true, finish: 'stop' }
  const full = [
    prompt,
    assistantMessage({ parentID: PROMPT, finish: 'stop' }, { text: 'the result' }),
    compactionRequest('msg_compact'),
    assistantMessage(summary, { text: 'a summary' }),
    userMessage('msg_continue', 9),
    assistantMessage({ id: 'msg_2', parentID: 'msg_continue', finish: 'stop' }, { text: 'Nothing is left.' }),
  ]

  test('ends the run, whatever OpenCode requests after it', () => {
    for (let length = 2; length <= full.length; length += 1) {
      expect(endingOf(full.slice(0, length), [PROMPT])).toMatchObject({
        type: 'answered',
        text: 'the result',
      })
    }
  })

  test('does not replace the answer to a later message to the task', () => {
    const steer = userMessage('msg_steer', 20)
    const last = assistantMessage({ id: 'msg_3', parentID: 'msg_steer', finish: 'stop' }, { text: 'more' })
    expect(endingOf([...full, steer], [PROMPT, 'msg_steer'])).toBeUndefined()
    expect(endingOf([...full, steer, last], [PROMPT, 'msg_steer'])).toMatchObject({ type: 'answered' })
  })
})

test('an answer ends a run only if it stays idle while a later message of ours is in flight', () => {
  const answer = assistantMessage({ parentID: PROMPT, finish: 'stop' }, { text: 'found' })
  expect(judge([prompt, answer], [PROMPT])?.holds).toBe('always')
  expect(judge([prompt, answer], [PROMPT, 'msg_steer'])?.holds).toBe('ifStaysIdle')
})

test('an error message is cut to 4 KB, because a provider can answer with a whole page', () => {
  const message = `It is this: ${'<p>'.repeat(40_000)} the end`
  const ending = endingOf([prompt], [PROMPT], message)
  const bad = assistantMessage({ parentID: PROMPT, error: { name: 'UnknownError', data: { message } } })
  for (const each of [ending, endingOf([prompt, bad], [PROMPT])]) {
    if (each?.type !== 'failed') throw new Error('It has not failed')
    expect(each.failure.message.length).toBeLessThan(4200)
    expect(each.failure.message).toMatch(/^It is this: <p>[^]*bytes left out[^]*the end$/)
  }
})

describe('the text of a run is incomplete', () => {
  const step = assistantMessage(
    { parentID: PROMPT, id: 'msg_1', finish: 'tool-calls' },
    { text: 'I will look at the files first.' },
    { tool: 'read' },
  )

  test('R1: when the run ended without text after a tool call', () => {
    const silent = assistantMessage({ parentID: PROMPT, id: 'msg_2', finish: 'stop' })
    expect(endingOf([prompt, step, silent], [PROMPT])).toMatchObject({
      type: 'answered',
      text: 'I will look at the files first.',
      incomplete: 'noAnswer',
    })
  })

  test.each([
    ['length', 'length'],
    ['content-filter', 'contentFilter'],
    ['error', 'noEnd'],
    ['other', 'noEnd'],
  ])('R2: when its finish is %s', (finish, incomplete) => {
    const half = assistantMessage({ parentID: PROMPT, id: 'msg_2', finish }, { text: 'Half of an answ' })
    expect(endingOf([prompt, step, half], [PROMPT])).toMatchObject({ type: 'answered', incomplete })
  })

  const whole = assistantMessage({ parentID: PROMPT, id: 'msg_2', finish: 'stop' }, { text: 'All of it.' })

  test('when the run has used all steps that its agent may take', () => {
    const ending = endingOf([prompt, step, whole], [PROMPT], undefined, 2)
    expect(ending).toMatchObject({ type: 'answered', incomplete: 'steps' })
    expect(endingOf([prompt, step, whole], [PROMPT], undefined, 3)).not.toHaveProperty('incomplete')
    expect(endingOf([prompt, whole], [PROMPT], undefined, 1)).not.toHaveProperty('incomplete')
  })

  test('but not when the run ended normally with a text', () => {
    expect(endingOf([prompt, step, whole], [PROMPT])).not.toHaveProperty('incomplete')
  })
})

describe('R10: a message after an aborted or failed turn', () => {
  const [stoppedAt, aborted] = [1000, { name: 'MessageAbortedError', data: { message: 'Aborted' } } as const]
  const stopped = assistantMessage({
    parentID: PROMPT,
    id: 'msg_1',
    time: { created: 1, completed: stoppedAt },
    error: aborted,
  })
  const answer = assistantMessage(
    { parentID: 'msg_other', id: 'msg_3', finish: 'stop' },
    { text: 'after all' },
  )

  test.each([0, 300])('continues the run when it arrives %i ms later', (laterMs) => {
    const messages = [prompt, stopped, userMessage('msg_other', stoppedAt + laterMs), answer]
    expect(endingOf(messages, [PROMPT])).toMatchObject({ type: 'answered', text: 'after all' })
    expect(endingOf(messages.slice(0, 3), [PROMPT])).toMatchObject({ type: 'aborted' })
  })

  test.each([-1, 301])('does not continue the run when it arrives %i ms later', (laterMs) => {
    const messages = [prompt, stopped, userMessage('msg_other', stoppedAt + laterMs), answer]
    expect(endingOf(messages, [PROMPT])).toMatchObject({ type: 'aborted' })
  })

  test('continues the run more than once, but not after a complete answer', () => {
    const again = { ...stopped, info: { ...stopped.info, id: 'msg_2', parentID: 'msg_again' } }
    const first = userMessage('msg_again', stoppedAt + 20)
    const second = userMessage('msg_other', stoppedAt + 20)
    expect(
      endingOf([prompt, stopped, first, again as typeof stopped, second, answer], [PROMPT]),
    ).toMatchObject({
      text: 'after all',
    })
    const done = assistantMessage(
      { parentID: PROMPT, id: 'msg_1', time: { created: 1, completed: stoppedAt }, finish: 'stop' },
      { text: 'done' },
    )
    expect(endingOf([prompt, done, second, answer], [PROMPT])).toMatchObject({ text: 'done' })
  })
})
