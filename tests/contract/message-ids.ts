import { describe, expect } from 'vitest'
import type { ContractTest } from './contract-test.ts'
import { newChild } from './host-under-test.ts'
import { BAD, inOrder } from '../harness/replies.ts'

export function messageIDs(test: ContractTest): void {
  describe('the same message id', () => {
    test('sent three times at once is stored once and answered by one turn (4.14)', async ({
      child,
      host,
    }) => {
      await Promise.all([child.prompt('hello'), child.prompt('hello'), child.prompt('hello')])
      await child.idleTimes(1)
      await host.settle()
      const stored = await child.messages()
      expect(stored.map(({ info }) => info.role)).toEqual(['user', 'assistant'])
      expect(stored[0]?.parts).toHaveLength(1)
      expect(child.requests).toHaveLength(1)
    })

    test('sent again after its answer is busy and idle without a model call (4.14)', async ({
      child,
      host,
    }) => {
      await child.turn('hello')
      await host.settle()
      const before = child.story.length
      await child.turn('hello')
      expect(child.story.slice(before)).toEqual(['busy', 'idle', 'session.idle'])
      expect(child.requests).toHaveLength(1)
    })

    test('sent again after a failure runs again (4.14)', async ({ child, host }) => {
      host.setScript(inOrder(BAD))
      await child.prompt('hello')
      await child.idleTimes(2)
      await child.prompt('hello')
      await child.told('final stop')
      expect(child.requests).toHaveLength(2)
    })

    test('sent again after newer turns costs one turn, and its message stays where it was (4.14)', async ({
      child,
    }) => {
      await child.turn('one')
      await child.turn('two')
      await child.turn('one')
      expect(child.requests).toHaveLength(3)
      expect(child.conversation(2).slice(0, 3)).toEqual(['user: one', 'assistant: ok', 'user: two'])
      const ids = (await child.messages()).map(({ info }) => info.id)
      expect(ids[0]).toBe(child.messageID('one'))
    })

    test('with a new part after its answer stores the part and calls no model (4.18)', async ({ child }) => {
      await child.turn('hello')
      await child.turn('hello', { parts: [child.part('more')] })
      expect(child.requests).toHaveLength(1)
      expect((await child.messages())[0]?.parts).toHaveLength(2)
    })

    test('sent to another session writes into the first one (4.14)', async ({ child, host }) => {
      const other = await newChild(host)
      await child.turn('hello')
      await other.prompt('other', { messageID: child.messageID('hello') })
      await host.settle()
      expect((await child.messages())[0]?.parts).toHaveLength(2)
      expect((await other.messages()).filter(({ info }) => info.role === 'user')).toEqual([])
    })

    test('has its own part ids: a part sent in a second message stays in the first (4.18)', async ({
      child,
    }) => {
      await child.turn('one', { parts: [child.part('shared', 'first text')] })
      await child.turn('two', { parts: [child.part('shared', 'second text')] })
      const texts = (await child.messages()).map(({ parts }) =>
        parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
      )
      expect(texts.slice(0, 3)).toEqual([['second text'], ['ok'], []])
    })
  })
}
