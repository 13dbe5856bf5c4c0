import { describe, expect, test } from 'vitest'
import type { Message } from '../../../src/host/opencode.ts'
import { ReceptionTracker } from '../../../src/parent/reception.ts'
import { assistantMessage, userMessage } from '../../harness/messages.ts'

const NOTICE = 'msg_notice'
const notice = userMessage(NOTICE, 100).info
const aborted = { name: 'MessageAbortedError' as const, data: { message: 'Aborted' } }

function answer(parentID: string, changes: object = {}): Message {
  return assistantMessage({ parentID, time: { created: 110, completed: 120 }, finish: 'stop', ...changes })
    .info
}

function receptionOf(...messages: Message[]): string {
  const tracker = new ReceptionTracker(NOTICE)
  for (const message of messages) tracker.observe(message)
  return tracker.reception
}

describe('a notice', () => {
  test('is missing until it is stored', () => {
    expect(receptionOf(answer('msg_other'))).toBe('missing')
  })

  test('is unanswered while only earlier calls have ended, or its own call still runs', () => {
    expect(receptionOf(userMessage('msg_first', 1).info, notice, answer('msg_first'))).toBe('unanswered')
    expect(receptionOf(notice, answer(NOTICE, { time: { created: 110 } }))).toBe('unanswered')
  })

  test('is answered by a call that names it, also by a failed one', () => {
    expect(receptionOf(notice, answer(NOTICE))).toBe('answered')
    const error = { name: 'APIError' as const, data: { message: 'bad key', isRetryable: false } }
    expect(receptionOf(notice, answer(NOTICE, { error }))).toBe('answered')
  })

  test('is answered by a call for a newer message, which had the notice in its context', () => {
    expect(receptionOf(notice, userMessage('msg_later', 105).info, answer('msg_later'))).toBe('answered')
  })

  test('is interrupted when the user aborts the turn in which it waits', () => {
    expect(
      receptionOf(userMessage('msg_first', 1).info, notice, answer('msg_first', { error: aborted })),
    ).toBe('interrupted')
    expect(receptionOf(notice, answer(NOTICE, { error: aborted }))).toBe('interrupted')
  })

  test('is not affected by an interrupt that ended before it was stored', () => {
    const before = { error: aborted, time: { created: 10, completed: 50 } }
    expect(receptionOf(userMessage('msg_first', 1).info, answer('msg_first', before), notice)).toBe(
      'unanswered',
    )
  })
})
