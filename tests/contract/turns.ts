import { describe, expect } from 'vitest'
import type { ContractTest } from './contract-test.ts'
import { READ, inOrder } from '../harness/replies.ts'

export function turns(test: ContractTest): void {
  describe('a turn', () => {
    test('goes from busy to idle once, with session.idle right after (1.1, 1.2)', async ({ child, host }) => {
      await child.turn('hello')
      await host.settle()
      expect(child.story).toEqual(['busy', 'busy', 'final stop', 'busy', 'idle', 'session.idle'])
      expect(child.events[0]?.type).toBe('session.created')
    })

    test('sends its user message, then the part of it, before it is busy (1.1)', async ({ child }) => {
      await child.turn('hello')
      const types = child.events.map(({ type }) => type)
      const message = types.indexOf('message.updated')
      const part = types.indexOf('message.part.updated')
      expect(message).toBeGreaterThan(0)
      expect(part).toBeGreaterThan(message)
      expect(types.indexOf('session.status')).toBeGreaterThan(part)
    })

    test('sends each event with a unique id', async ({ child, host }) => {
      await child.turn('hello')
      await host.settle()
      const ids = child.events.map(({ id }) => id)
      expect(new Set(ids).size).toBe(child.events.length)
      expect(ids).not.toContain(undefined)
    })

    test('is followed by events after its idle (1.1)', async ({ child, host }) => {
      await child.turn('hello')
      await host.settle()
      const after = child.events.slice(child.events.findIndex(({ type }) => type === 'session.idle') + 1)
      expect(after.map(({ type }) => type)).toEqual(
        expect.arrayContaining(['session.updated', 'message.updated']),
      )
    })

    test('has no idle between its steps, which all answer the same message (1.3)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(READ, READ, { text: 'done' }))
      await child.turn('hello')
      await host.settle()
      expect(child.idleCount).toBe(1)
      expect((await child.answers()).map(({ finish }) => finish)).toEqual([
        'tool-calls',
        'tool-calls',
        'stop',
      ])
      expect(await child.answeredTo()).toEqual(['hello', 'hello', 'hello'])
    })

    test('sends in each step the tokens of its session, with those of the steps before (15.32)', async ({
      child,
      host,
    }) => {
      host.setScript(inOrder(READ, READ, { text: 'done' }))
      await child.turn('hello')
      await host.settle()
      let ended = 0
      const steps: number[] = []
      const wrong: string[] = []
      for (const { type, properties } of child.events) {
        if (type === 'message.part.updated' && properties.part.type === 'step-finish')
          ended += properties.part.tokens.input
        if (type !== 'session.updated') continue
        const { tokens } = properties.info
        if (tokens?.input === ended) steps.push(ended)
        else wrong.push(`${tokens?.input} after ${ended}`)
      }
      expect(wrong).toEqual([])
      // Zero for the prompt and the first step, and all of them after the turn.
      expect(new Set(steps)).toEqual(new Set([0, 10, 20, 30]))
    })

    test('sends the end of a tool call with the ids under which it is stored', async ({ child, host }) => {
      host.setScript(inOrder(READ, { text: 'done' }))
      await child.turn('hello')
      expect(child.toldCalls).toEqual([expect.stringMatching(/ completed$/)])
      expect(child.toldCalls).toEqual(await child.storedCalls())
    })

    test('continues after a tool call with a terminal finish (1.3b)', async ({ child, host }) => {
      host.setScript(inOrder({ ...READ, finish: 'stop' }, { text: 'done' }))
      await child.turn('hello')
      expect(child.requests).toHaveLength(2)
      expect((await child.answers()).map(({ finish }) => finish)).toEqual(['stop', 'stop'])
    })

    test('ends with an answer that exceeds the output limit', async ({ child, host }) => {
      host.setScript(inOrder({ text: 'so far', finish: 'length' }))
      await child.turn('hello')
      await host.settle()
      expect(child.requests).toHaveLength(1)
      expect((await child.answers()).map(({ finish }) => finish)).toEqual(['length'])
    })

    test('has its final answer readable at idle (1.4)', async ({ child }) => {
      await child.turn('hello')
      const [answer] = await child.answers()
      expect(answer).toMatchObject({ finish: 'stop', parentID: child.messageID('hello') })
      expect(answer?.time.completed).toBeTypeOf('number')
      expect(answer?.parts).toContainEqual(expect.objectContaining({ type: 'text', text: 'ok' }))
    })

    test('with an empty answer ends like any other, without a text part (1.8)', async ({ child, host }) => {
      host.setScript(inOrder({}))
      await child.turn('hello')
      const [answer] = await child.answers()
      expect(answer?.finish).toBe('stop')
      expect(answer?.error).toBeUndefined()
      expect(answer?.parts.map(({ type }) => type)).toEqual(['step-start', 'step-finish'])
    })

    test('records the agent, model and variant on its user message', async ({ child }) => {
      const model = { providerID: 'mock', modelID: 'm3', variant: 'low' }
      await child.turn('hello', { agent: 'plan', model })
      const [asked] = await child.messages()
      expect(asked?.info).toMatchObject({ role: 'user', agent: 'plan', model })
      expect(child.requests[0]?.model).toBe('m3')
    })

    test('without agent and model falls back to build, and drops the variant but not the model (4.10)', async ({
      child,
      host,
    }) => {
      const model = { providerID: 'mock', modelID: 'm3' }
      await child.turn('one', { agent: 'plan', model: { ...model, variant: 'low' } })
      await host.userPrompt(child.id, 'two')
      await child.idleTimes(2)
      const asked = (await child.messages()).findLast(({ info }) => info.role === 'user')
      expect(asked?.info).toMatchObject({ agent: 'build', model })
      expect(asked?.info).not.toHaveProperty('model.variant')
    })
  })
}
