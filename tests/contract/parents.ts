import { describe, expect } from 'vitest'
import type { Session } from '../../src/host/opencode.ts'
import type { ContractTest } from './contract-test.ts'
import { never } from '../harness/replies.ts'
import type { HostUnderTest, Observed } from './host-under-test.ts'

const LOW = { providerID: 'mock', modelID: 'm3', variant: 'low' }

/** Returns the sessions of the `session.updated` events, oldest first. */
function updates(child: Observed): Session[] {
  return child.events.flatMap((event) => (event.type === 'session.updated' ? [event.properties.info] : []))
}

/** Runs two turns, and undoes the second as the user. */
async function undone(child: Observed, host: HostUnderTest): Promise<void> {
  await child.turn('one')
  await child.turn('two')
  await host.settle()
  await host.userRevert(child.id, child.messageID('two'))
}

export function parents(test: ContractTest): void {
  describe('a session of a user', () => {
    test('has neither agent nor model before its first prompt', async ({ child, host }) => {
      const session = await host.opencode.session(child.id)
      expect(session).not.toHaveProperty('agent')
      expect(session).not.toHaveProperty('model')
    })

    test('has the agent, model and variant of its last prompt (15.6)', async ({ child, host }) => {
      await child.turn('one', { agent: 'plan', model: LOW })
      expect(await host.opencode.session(child.id)).toMatchObject({
        agent: 'plan',
        model: { id: 'm3', providerID: 'mock', variant: 'low' },
      })
    })

    test('whose last prompt named no variant has the variant "default" (15.6)', async ({ child, host }) => {
      await child.turn('one', { agent: 'plan', model: LOW })
      await child.turn('two', { agent: 'build', model: { providerID: 'mock', modelID: 'm2' } })
      const { agent, model } = await host.opencode.session(child.id)
      expect(agent).toBe('build')
      expect(model).toEqual({ id: 'm2', providerID: 'mock', variant: 'default' })
    })

    test('sends session.updated with agent, model and variant before each user message', async ({
      child,
      host,
    }) => {
      const prompted = [
        { agent: 'plan', model: LOW },
        { agent: 'build', model: { providerID: 'mock', modelID: 'm2' } },
      ]
      const told: (Session | undefined)[] = []
      for (const [index, changes] of prompted.entries()) {
        const before = child.events.length
        await child.turn(`prompt${index}`, changes)
        await host.settle()
        const events = child.events.slice(before)
        const first = events.findIndex(({ type }) => type === 'session.updated')
        expect(first).toBeLessThan(events.findIndex(({ type }) => type === 'message.updated'))
        const event = events[first]
        told.push(event?.type === 'session.updated' ? event.properties.info : undefined)
      }
      expect(told).toMatchObject([
        { agent: 'plan', model: { id: 'm3', variant: 'low' } },
        { agent: 'build', model: { id: 'm2', variant: 'default' } },
      ])
    })

    test('sends session.updated upon an undo, and still stores the undone messages (4.15)', async ({
      child,
      host,
    }) => {
      await undone(child, host)
      const revert = { messageID: child.messageID('two') }
      await host.waitUntil(() => updates(child).at(-1)?.revert !== undefined, 'session.updated with a revert')
      expect(updates(child).at(-1)).toMatchObject({ revert })
      expect(await host.opencode.session(child.id)).toMatchObject({ revert })
      expect(await child.answeredTo()).toEqual(['one', 'two'])
    })

    test('deletes undone messages for good at the next prompt, even one of a plugin (4.15)', async ({
      child,
      host,
    }) => {
      await undone(child, host)
      await child.turn('three')
      await host.settle()
      expect(child.conversation(2)).toEqual(['user: one', 'assistant: ok', 'user: three'])
      expect(await child.answeredTo()).toEqual(['one', 'three'])
      expect(await child.messages()).toHaveLength(4)
      expect(await host.opencode.session(child.id)).not.toHaveProperty('revert')
      expect(updates(child).at(-1)).not.toHaveProperty('revert')
    })

    test('deletes the parts of undone messages as well, so that their ids are free again (4.15, 4.18)', async ({
      child,
      host,
    }) => {
      await undone(child, host)
      await child.turn('three', { parts: [child.part('two', 'again')] })
      await host.settle()
      expect(child.conversation(2)).toEqual(['user: one', 'assistant: ok', 'user: again'])
    })

    test('cannot undo while it is busy (15.7)', async ({ child, host }) => {
      await child.turn('one')
      host.setScript(never)
      await child.asked('two')
      await expect(host.userRevert(child.id, child.messageID('one'))).rejects.toBeDefined()
      expect(await host.opencode.session(child.id)).not.toHaveProperty('revert')
    })
  })
}
