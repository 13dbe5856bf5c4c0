import { describe, expect } from 'vitest'
import type { ContractTest } from './contract-test.ts'
import { endsTwice, Observed } from './host-under-test.ts'
import { heldReply, inOrder, never } from '../harness/replies.ts'

export function aborts(test: ContractTest): void {
  describe('an abort', () => {
    test('in mid-answer reports idle, and resolves with the message completed (1.9)', async ({
      child,
      host,
    }) => {
      host.setScript(never)
      await child.asked('hello')
      await child.abort()
      const [answer] = await child.answers()
      expect(answer?.error?.name).toBe('MessageAbortedError')
      expect(answer?.time.completed).toBeTypeOf('number')
      expect(answer?.finish).toBeUndefined()
      await host.settle()
      expect(child.story.slice(2)).toEqual(endsTwice('MessageAbortedError'))
      expect(child.requests[0]?.outcome).toBe('closed')
    })

    test('during a tool call ends the call as well, and resolves when both have ended (1.10)', async ({
      child,
      host,
    }) => {
      const command = { command: 'sleep 20', description: 'Waits' }
      host.setScript(inOrder({ tools: [{ name: 'bash', args: command }] }))
      await child.prompt('hello')
      const running = async (): Promise<boolean> =>
        (await child.toolStates()).some((status) => status === 'running')
      await host.waitUntil(running, 'a running tool')
      await child.abort()
      const [answer] = await child.answers()
      expect(answer?.error?.name).toBe('MessageAbortedError')
      expect(await running()).toBe(false)
      await host.settle()
      expect(child.requests).toHaveLength(1)
      expect(child.idleCount).toBe(2)
      // A call that returns at once is completed, otherwise it has failed.
      expect(child.toldCalls).toHaveLength(1)
      expect(child.toldCalls).toEqual(await child.storedCalls())
    })

    test('during a retry delay ends in one idle and a message without error or finish (6.4)', async ({
      child,
      host,
    }) => {
      const later = { 'retry-after-ms': '20000' }
      host.setScript(() => ({ status: 500, text: 'srv', headers: later }))
      await child.prompt('hello')
      await child.told('retry')
      await child.abort()
      await host.settle()
      expect(child.story.slice(2)).toEqual(['retry', 'final without finish', 'idle', 'session.idle'])
      const [answer] = await child.answers()
      expect(answer?.error).toBeUndefined()
      expect(answer?.time.completed).toBeTypeOf('number')
    })

    test('of an idle session reports idle (6.3)', async ({ child }) => {
      await child.abort()
      await child.idleTimes(1)
      expect(child.story).toEqual(['idle', 'session.idle'])
    })

    test('of an unknown session reports idle for it (3.5)', async ({ host }) => {
      const unknown = new Observed(host, { ...(await host.createRootSession()), id: 'ses_unknown0000' })
      await unknown.abort()
      await unknown.idleTimes(1)
      expect(unknown.story).toEqual(['idle', 'session.idle'])
    })

    test('leaves a message that was queued before it unanswered, until the next prompt (4.7)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(never()))
      await child.asked('one')
      await child.queued('two')
      await host.userAbort(child.id)
      await host.settle()
      expect(child.requests).toHaveLength(1)
      await child.asked('three')
      expect(child.conversation(1)).toEqual(['user: one', 'user: two', 'user: three'])
    })

    test('of a parent leaves its child running (6.1)', async ({ child, host }) => {
      const held = heldReply()
      host.setScript(({ parentSessionID }) => (parentSessionID === undefined ? never() : held.reply))
      const parent = new Observed(host, await host.opencode.session(child.session.parentID ?? ''))
      await Promise.all([parent.prompt('parent'), child.prompt('child')])
      await Promise.all([parent.askedTimes(1), child.askedTimes(1)])
      await parent.abort()
      expect(await host.opencode.statuses()).toMatchObject({ [child.id]: { type: 'busy' } })
      expect(await host.opencode.statuses()).not.toHaveProperty(parent.id)
      held.release({ text: 'done' })
      await child.idleTimes(1)
      expect((await child.answers())[0]?.finish).toBe('stop')
    })
  })
}
