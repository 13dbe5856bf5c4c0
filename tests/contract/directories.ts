import { describe, expect } from 'vitest'
import type { Event, NewSession } from '../../src/host/opencode.ts'
import { heldReply, inOrder } from '../harness/replies.ts'
import type { ContractTest } from './contract-test.ts'
import { newChild, type HostUnderTest, type Observed } from './host-under-test.ts'

const BASH = { name: 'bash', args: { command: 'echo hello', description: 'Says hello' } }

interface Moved {
  readonly child: Observed
  readonly directory: string
  /** The events of the child in its directory. */
  readonly events: Event[]
}

/** Moves a new child to another checkout of its project, and subscribes to the events there. */
async function moved(
  host: HostUnderTest,
  changes: Partial<NewSession>,
  run: (moved: Moved) => Promise<void>,
): Promise<void> {
  const child = await newChild(host, changes)
  const directory = await host.otherCheckout()
  await host.opencode.moveSession(child.id, directory)
  const over = new AbortController()
  const events: Event[] = []
  const subscribed = { isConfirmed: false }
  const stream = host.opencode.events(
    (event) => {
      if (event.type === 'server.connected') subscribed.isConfirmed = true
      if ('sessionID' in event.properties && event.properties.sessionID === child.id) events.push(event)
    },
    over.signal,
    directory,
  )
  try {
    await host.waitUntil(() => subscribed.isConfirmed, `the event stream of ${directory}`)
    await run({ child, directory, events })
  } finally {
    over.abort()
    await stream
  }
}

const isIdle = ({ type }: Event): boolean => type === 'session.idle'

export function directories(test: ContractTest): void {
  describe('a session that is moved to another checkout of its project', () => {
    test('keeps its parent, project, metadata and rules, and works there (17.1)', async ({ host }) => {
      const permission = [{ permission: 'task', pattern: '*', action: 'deny' as const }]
      const metadata = { background: { id: 'bg_1' } }
      await moved(host, { permission, metadata }, async ({ child, directory, events }) => {
        const { parentID = '', projectID } = child.session
        const kept = { id: child.id, parentID, projectID, permission, metadata, directory }
        expect(await host.opencode.session(child.id)).toMatchObject(kept)
        expect(await host.opencode.children(parentID)).toMatchObject([kept])
        await child.prompt('hello')
        await host.waitUntil(() => events.some(isIdle), 'the end of the turn')
        expect(child.conversation(0)).toEqual(['user: hello'])
        expect(await child.answeredTo()).toEqual(['hello'])
        expect(await host.opencode.session(child.id)).toMatchObject(kept)
      })
    })

    test('sends the events of its turns to that directory alone (17.2)', async ({ host }) => {
      await moved(host, {}, async ({ child, events }) => {
        const before = child.events.length
        await child.prompt('hello')
        await host.waitUntil(() => events.some(isIdle), 'the end of the turn')
        await host.settle()
        const types = new Set(events.map(({ type }) => type))
        expect(types).toContain('session.status')
        expect(types).toContain('message.updated')
        expect(child.events.slice(before).map(({ type }) => type)).toEqual([])
      })
    })

    test('sends a change of its metadata to that directory alone (17.2)', async ({ host }) => {
      await moved(host, {}, async ({ child, events }) => {
        const before = child.events.length
        await host.opencode.replaceMetadata(child.id, { asked: true })
        await host.waitUntil(
          () =>
            events.some(
              (event) =>
                event.type === 'session.updated' && event.properties.info.metadata?.['asked'] === true,
            ),
          'session.updated in its directory',
        )
        await host.settle()
        expect(child.events.slice(before).map(({ type }) => type)).toEqual([])
      })
    })

    test('has its status among those of that directory alone (17.2)', async ({ host }) => {
      await moved(host, {}, async ({ child, directory, events }) => {
        const { reply, release } = heldReply()
        host.setScript(inOrder(reply))
        await child.asked('hello')
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
        const exclude = host.opencode.include(directory)
        expect((await host.opencode.statuses())[child.id]).toEqual({ type: 'busy' })
        release({ text: 'ok' })
        await host.waitUntil(() => events.some(isIdle), 'the end of the turn')
        expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
        exclude()
      })
    })

    test('is aborted by a call from any directory (17.2)', async ({ host }) => {
      await moved(host, {}, async ({ child, events }) => {
        host.setScript(inOrder(heldReply().reply))
        await child.asked('hello')
        await child.abort()
        await host.waitUntil(() => events.some(isIdle), 'the end of the turn')
        await host.waitUntil(
          () => child.requests.every(({ outcome }) => outcome === 'closed'),
          'the end of the model request',
        )
        expect(child.requests).toHaveLength(1)
      })
    })

    test('has its permission requests in that directory, which a reply must name (17.2)', async ({
      host,
    }) => {
      const ask = [{ permission: 'bash', pattern: '*', action: 'ask' as const }]
      await moved(host, { permission: ask }, async ({ child, directory, events }) => {
        const own = async () =>
          (await host.opencode.permissions()).filter(({ sessionID }) => sessionID === child.id)
        host.setScript(inOrder({ tools: [BASH] }))
        await child.prompt('hello')
        await host.waitUntil(
          () => events.some(({ type }) => type === 'permission.asked'),
          'a request for a permission',
        )
        expect(await own()).toEqual([])
        const exclude = host.opencode.include(directory)
        const [request] = await own()
        const id = request?.id ?? ''
        await expect(host.opencode.rejectPermission(id)).rejects.toMatchObject({ reason: 'notFound' })
        await host.opencode.rejectPermission(id, undefined, directory)
        await host.waitUntil(() => events.some(isIdle), 'the end of the turn')
        expect(await own()).toEqual([])
        exclude()
      })
    })

    test('can be moved again, and back (17.1)', async ({ host }) => {
      await moved(host, {}, async ({ child }) => {
        await host.opencode.moveSession(child.id, child.session.directory)
        expect(await host.opencode.session(child.id)).toMatchObject({ directory: child.session.directory })
        await child.turn('hello')
        expect(await child.answeredTo()).toEqual(['hello'])
      })
    })
  })
}
