import { describe, expect } from 'vitest'
import { HostError } from '../../src/host/opencode.ts'
import type { ContractTest } from './contract-test.ts'
import { READ, inOrder, never } from '../harness/replies.ts'
import type { Reply } from '../harness/script.ts'

/** The number of parts of a long message. */
const LONG = 200

export function prompts(test: ContractTest): void {
  describe('a prompt', () => {
    test('of an idle session begins a new turn, with the history before it (4.2)', async ({ child }) => {
      await child.turn('one')
      await child.turn('two')
      expect(child.conversation(1)).toEqual(['user: one', 'assistant: ok', 'user: two'])
      expect(await child.answeredTo()).toEqual(['one', 'two'])
    })

    test('of a busy session becomes the next step of the same loop (4.3)', async ({ child, host }) => {
      const release = await child.held('one')
      await child.queued('two')
      release({ text: 'first' })
      await child.idleTimes(1)
      await host.settle()
      expect(child.idleCount).toBe(1)
      expect(child.conversation(1)).toEqual(['user: one', 'assistant: first', 'user: two'])
      expect(await child.answeredTo()).toEqual(['one', 'two'])
    })

    test('during a step with a tool call is read after the tool, and answered by the same loop (4.3)', async ({
      child,
    }) => {
      const release = await child.held('one')
      await child.queued('two')
      release(READ)
      await child.idleTimes(1)
      expect(child.conversation(1).map((line) => line.split(':')[0])).toEqual([
        'user',
        'assistant',
        'tool',
        'user',
      ])
      expect(child.conversation(1).at(-1)).toBe('user: two')
      expect(await child.answeredTo()).toEqual(['one', 'two'])
    })

    test('right after an abort is answered (4.6)', async ({ child, host }) => {
      host.setScript(inOrder(never()))
      await child.asked('one')
      await child.abort()
      await child.asked('two')
      await child.told('final stop')
      expect(child.conversation(1)).toEqual(['user: one', 'user: two'])
    })

    test('sent five times in one tick is never lost, and costs one cycle of few turns (5)', async ({
      child,
      host,
    }) => {
      const names = ['N1', 'N2', 'N3', 'N4', 'N5']
      await Promise.all(names.map((each) => child.prompt(each)))
      await child.idleTimes(1)
      await host.settle()
      expect(child.idleCount).toBe(1)
      expect(child.requests.length).toBeLessThan(5)
      const asked = child.conversation(child.requests.length - 1).join('\n')
      for (const each of names) expect(asked).toContain(`user: ${each}`)
      // An answer names only the newest of the messages that it answers.
      expect((await child.answeredTo()).at(-1)).toBe('N5')
    })

    test('of more than forty parts is stored with pauses, and a busy session reads it in part (15.5)', async ({
      child,
      host,
    }) => {
      let step = 0
      // An identical call would need a permission (`doom_loop`).
      const work = (): Reply => ({
        tools: [{ name: 'read', args: { filePath: 'README.md', limit: ++step } }],
      })
      host.setScript(work)
      await child.asked('begin')
      const wasReadInParts = (): boolean =>
        child.requests.some(({ messages }) => {
          const { length } = messages.at(-1)?.content.match(/part of a long message/g) ?? []
          return length > 0 && length < LONG
        })
      for (let count = 0; count < 40 && !wasReadInParts(); count += 1) {
        const parts = Array.from({ length: LONG }, (_, index) => ({
          ...child.part(`${count}.${index}`),
          text: 'part of a long message',
        }))
        await child.askedTimes(child.requests.length + 2)
        // Send at a different moment of the step each time.
        for (let call = 0; call < count; call += 1) await host.opencode.statuses()
        await child.prompt(`long ${count}`, { parts })
      }
      host.setScript(() => ({ text: 'ok' }))
      await child.idleTimes(1)
      expect(wasReadInParts()).toBe(true)
    })

    test('has its parts in the order of their ids, not in that of sending (15.1)', async ({ child }) => {
      await child.turn('hello', { parts: [child.part('2', 'B'), child.part('1', 'A')] })
      expect(child.conversation(0)).toEqual(['user: AB'])
    })

    test('to an unknown session is refused, as is reading that session (3.5)', async ({ host }) => {
      const { opencode } = host
      const id = 'ses_unknown0000'
      const prompt = { messageID: 'msg_unknown', agent: 'build', parts: [] }
      const calls = [
        () => opencode.prompt(id, prompt),
        () => opencode.messages(id),
        () => opencode.session(id),
        () => opencode.replaceMetadata(id, {}),
      ]
      for (const call of calls) {
        const error: unknown = await call().catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(HostError)
        expect(error).toMatchObject({ reason: 'notFound' })
      }
    })

    test('with a malformed message id is refused (4.13)', async ({ child }) => {
      const error: unknown = await child.prompt('x', { messageID: 'x' }).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ reason: 'refused' })
    })
  })
}
