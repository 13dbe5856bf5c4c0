import { describe, expect } from 'vitest'
import type { ContractTest } from './contract-test.ts'
import { newChild } from './host-under-test.ts'
import { inOrder, never } from '../harness/replies.ts'

export function sessions(test: ContractTest): void {
  describe('a session', () => {
    test('is absent from the statuses while idle, and busy while it works (2.1)', async ({ child, host }) => {
      host.setScript(inOrder(never()))
      expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
      await child.asked('hello')
      expect((await host.opencode.statuses())[child.id]).toEqual({ type: 'busy' })
      await child.abort()
      expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
    })

    test('stores the metadata and permissions of its creation (3.1)', async ({ host }) => {
      const permission = [{ permission: 'task', pattern: '*', action: 'deny' as const }]
      const metadata = { background: { id: 'bg_1', times: [1, 2] }, other: true }
      const child = await newChild(host, { permission, metadata, title: 'Named' })
      const kept = { permission, metadata, title: 'Named', parentID: child.session.parentID }
      expect(child.session).toMatchObject(kept)
      expect(await host.opencode.session(child.id)).toMatchObject(kept)
    })

    test('has its metadata replaced as a whole, and sends session.updated (3.2, 9.8)', async ({ host }) => {
      const child = await newChild(host, { metadata: { old: 1, kept: 2 } })
      await host.opencode.replaceMetadata(child.id, { kept: 3 })
      expect((await host.opencode.session(child.id)).metadata).toEqual({ kept: 3 })
      await host.waitUntil(
        () =>
          child.events.some(
            (event) => event.type === 'session.updated' && event.properties.info.metadata?.['kept'] === 3,
          ),
        'session.updated with the new metadata',
      )
    })

    test('gives its newest messages, however many pages they take (15.31)', async ({ child, host }) => {
      for (let turn = 0; turn < 9; turn += 1) await child.turn(`turn ${turn}`)
      const ids = (messages: readonly { info: { id: string } }[]): string[] =>
        messages.map(({ info }) => info.id)
      const all = ids(await host.opencode.messages(child.id))
      expect(all).toHaveLength(18)
      for (const count of [1, 2, 16, 17, 18, 40])
        expect(ids(await host.opencode.newestMessages(child.id, count))).toEqual(all.slice(-count))
    })

    test('keeps its metadata through a turn', async ({ host }) => {
      const child = await newChild(host, { metadata: { kept: 1 } })
      await child.turn('hello')
      await host.settle()
      expect((await host.opencode.session(child.id)).metadata).toEqual({ kept: 1 })
    })

    test('whose rules deny a tool does not offer it to its model (8.5)', async ({ host }) => {
      const deny = (permission: string) => ({ permission, pattern: '*', action: 'deny' as const })
      const child = await newChild(host, { permission: [deny('task'), deny('edit')] })
      await child.turn('hello')
      const tools = child.requests[0]?.tools
      expect(tools).toEqual(expect.arrayContaining(['read', 'bash']))
      for (const tool of ['task', 'edit', 'write']) expect(tools).not.toContain(tool)
    })

    test('whose rules allow one tool offers only that one (8.5)', async ({ host }) => {
      const permission = [
        { permission: '*', pattern: '*', action: 'deny' as const },
        { permission: 'read', pattern: '*', action: 'allow' as const },
      ]
      const child = await newChild(host, { permission })
      await child.turn('hello')
      expect(child.requests[0]?.tools).toEqual(['read'])
    })

    test('that is deleted has its children deleted first (7)', async ({ child, host }) => {
      const grandchild = await newChild(host, { parentID: child.id })
      await host.deleteSession(child.id)
      await child.told('session.deleted')
      const deleted = host.events.flatMap((event) =>
        event.type === 'session.deleted' ? [event.properties.sessionID] : [],
      )
      expect(deleted.slice(-2)).toEqual([grandchild.id, child.id])
      await expect(host.opencode.messages(grandchild.id)).rejects.toMatchObject({ reason: 'notFound' })
    })

    // The real host retries the turn, with a new model request, when the text of the database's error contains 429, 500,
    // 502, 503, 504 or 524, as a timestamp in it may. An abort ends either case at once.
    test('that is deleted while busy continues, and fails at its next write (1.11)', async ({
      child,
      host,
    }) => {
      const release = await child.held('hello')
      await host.deleteSession(child.id)
      expect(await host.opencode.statuses()).toHaveProperty(child.id)
      release({ text: 'too late' })
      const hasFailed = (): boolean =>
        child.story.includes('retry') || child.story.includes('error UnknownError')
      await host.waitUntil(hasFailed, 'a write that fails')
      await child.abort()
      expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
      await expect(child.messages()).rejects.toMatchObject({ reason: 'notFound' })
    })

    test('sends its parent’s id with its model requests', async ({ child }) => {
      await child.turn('hello')
      expect(child.requests[0]?.parentSessionID).toBe(child.session.parentID)
    })
  })

  test('the agents include the default one and the subagents', async ({ host }) => {
    const agents = await host.opencode.agents()
    expect(agents).toContainEqual(expect.objectContaining({ name: 'build', mode: 'primary' }))
    expect(agents).toContainEqual(expect.objectContaining({ name: 'general', mode: 'subagent' }))
  })
}
