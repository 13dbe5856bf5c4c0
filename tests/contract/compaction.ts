import { describe, expect } from 'vitest'
import type { Reply } from '../harness/script.ts'
import type { ContractTest } from './contract-test.ts'
import { endsTwice } from './host-under-test.ts'
import { BAD, inOrder } from '../harness/replies.ts'

const FULL: Reply = { status: 400, text: 'context length exceeded' }
const SUMMARY: Reply = { text: 'the summary' }
const BEFORE_THE_SUMMARY = [
  'busy',
  'busy',
  'error ContextOverflowError',
  'final without finish',
  'busy',
  'busy',
]

export function compaction(test: ContractTest): void {
  describe('a context that is full', () => {
    test('is reported as an error while the session stays busy, and ends in one idle (15.4)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(FULL, SUMMARY))
      await child.turn('hello')
      await host.settle()
      expect(child.story).toEqual([
        ...BEFORE_THE_SUMMARY,
        'final stop',
        'session.compacted',
        'busy',
        'busy',
        'final stop',
        'busy',
        'idle',
        'session.idle',
      ])
    })

    test('is summarised at the host’s request, then continued by a message of the host (15.4)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(FULL, SUMMARY, { text: 'went on' }))
      await child.turn('hello')
      const [asked, broken, request, summary, continuation, answer, ...more] = await child.messages()
      expect(more).toEqual([])
      expect(asked?.info.id).toBe(child.messageID('hello'))

      expect(broken).toMatchObject({ info: { parentID: asked?.info.id }, parts: [] })
      expect(broken?.info.time).toHaveProperty('completed')
      expect(broken?.info).not.toHaveProperty('finish')
      expect(broken?.info).not.toHaveProperty('error')

      expect(request?.info.role).toBe('user')
      expect(request?.parts).toMatchObject([{ type: 'compaction', auto: true }])
      expect(summary?.info).toMatchObject({ parentID: request?.info.id, summary: true, finish: 'stop' })

      expect(continuation?.info.role).toBe('user')
      const metadata = { compaction_continue: true }
      expect(continuation?.parts).toMatchObject([{ type: 'text', synthetic: true, metadata }])
      expect(answer?.info).toMatchObject({ parentID: continuation?.info.id, finish: 'stop' })
      expect(answer?.info).not.toHaveProperty('summary')
    })

    test('is summarised without tools, by a request that names no parent', async ({ child, host }) => {
      host.setScript(inOrder(FULL, SUMMARY))
      await child.turn('hello')
      const parentID = child.session.parentID
      expect(child.requests.map(({ parentSessionID }) => parentSessionID)).toEqual([
        parentID,
        undefined,
        parentID,
      ])
      expect(child.requests.map(({ tools }) => tools.length > 0)).toEqual([true, false, true])
    })

    test('in a later turn repeats its user message after the summary, as a copy with a new id', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder({ text: 'first' }, FULL, SUMMARY, { text: 'went on' }))
      await child.turn('one')
      await child.turn('two')
      expect(child.conversation(3)).toEqual([
        'user: What did we do so far?',
        'assistant: the summary',
        'user: two',
      ])
      const [continuation, answer] = (await child.messages()).slice(-2)
      expect(continuation?.info.id).not.toBe(child.messageID('two'))
      expect(continuation?.parts).toMatchObject([{ type: 'text', text: 'two', synthetic: true }])
      expect(continuation?.parts[0]).not.toHaveProperty('metadata')
      expect(answer?.info).toMatchObject({ parentID: continuation?.info.id, finish: 'stop' })
    })

    test('whose summary overflows as well ends in one idle and a summary with the finish "error"', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(FULL, FULL))
      await child.turn('hello')
      await host.settle()
      const error = 'ContextOverflowError'
      const final = `final ${error}`
      const end = [`error ${error}`, final, final, 'idle', 'session.idle']
      expect(child.story).toEqual([...BEFORE_THE_SUMMARY, ...end])
      expect((await child.answers()).at(-1)).toMatchObject({
        summary: true,
        finish: 'error',
        error: { name: error },
      })
      expect(child.requests).toHaveLength(2)
    })

    test('whose summary is refused ends like any failure, with the error on the summary', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(FULL, BAD))
      await child.prompt('hello')
      await child.idleTimes(2)
      expect(child.story.slice(BEFORE_THE_SUMMARY.length)).toEqual(endsTwice('APIError'))
      expect((await child.answers()).at(-1)).toMatchObject({ summary: true, error: { name: 'APIError' } })
    })
  })
}
