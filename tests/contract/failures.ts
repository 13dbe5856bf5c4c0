import { describe, expect } from 'vitest'
import type { ContractTest } from './contract-test.ts'
import { endsTwice } from './host-under-test.ts'
import { BAD, inOrder } from '../harness/replies.ts'

export function failures(test: ContractTest): void {
  describe('a failure', () => {
    test('of the request (400) reports idle before its message is final, and again after (1.5)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(BAD))
      await child.prompt('hello')
      await child.idleTimes(2)
      await host.settle()
      expect(child.story.slice(2)).toEqual(endsTwice('APIError'))
      const [answer] = await child.answers()
      expect(answer?.error).toMatchObject({ name: 'APIError', data: { message: 'bad', statusCode: 400 } })
      expect(answer?.finish).toBeUndefined()
    })

    test('of the server (500) is retried, and its message then holds the answer (1.6)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder({ status: 500, text: 'srv', headers: { 'retry-after-ms': '3000' } }))
      await child.prompt('hello')
      await child.told('retry')
      expect((await host.opencode.statuses())[child.id]).toMatchObject({ type: 'retry', attempt: 1 })
      await child.idleTimes(1)
      expect(child.requests).toHaveLength(2)
      expect(child.story).not.toContain('error APIError')
      expect(await child.answers()).toHaveLength(1)
      expect((await child.answers())[0]?.finish).toBe('stop')
    })

    test('in mid-answer is retried too; the text so far is lost and its empty part stays (1.6)', async ({
      child,
      host,
    }) => {
      let cut = (): void => {}
      const isCut = new Promise<void>((resolve) => {
        cut = resolve
      })
      host.setScript(inOrder({ text: 'half', cut: isCut }, { text: 'whole' }))
      const turn = child.turn('hello')
      await host.waitUntil(
        () =>
          child.events.some(
            ({ type, properties }) =>
              type === 'message.part.updated' &&
              properties.part.type === 'text' &&
              properties.part.text === '',
          ),
        'the text part of the answer',
      )
      cut()
      await turn
      const [answer] = await child.answers()
      const texts = answer?.parts.flatMap((part) => (part.type === 'text' ? [part.text] : []))
      expect(texts).toEqual(['', 'whole'])
    })

    test('leaves a message queued behind it unanswered, and reports that by no event (15.3)', async ({
      child,
      host,
    }) => {
      const release = await child.held('one')
      await child.queued('two')
      release(BAD)
      await child.idleTimes(2)
      await host.settle()
      expect(child.requests).toHaveLength(1)
      expect(await child.answeredTo()).toEqual(['one'])
      expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
    })

    test('caused by an unknown agent is two errors, without message, busy or idle (1.12)', async ({
      child,
      host,
    }) => {
      await child.prompt('hello', { agent: 'nope' })
      await child.told('error UnknownError')
      await host.settle()
      expect(child.story).toEqual(['error UnknownError', 'error UnknownError'])
      expect(await child.messages()).toEqual([])
    })

    test('caused by an unknown model is an error before and after one idle, and no answer (1.12)', async ({
      child,
      host,
    }) => {
      await child.prompt('hello', { model: { providerID: 'mock', modelID: 'nope' } })
      await child.told('session.idle')
      await host.settle()
      const error = 'error UnknownError'
      expect(child.story).toEqual(['busy', error, 'idle', 'session.idle', error])
      expect((await child.messages()).map(({ info }) => info.role)).toEqual(['user'])
    })
  })
}
