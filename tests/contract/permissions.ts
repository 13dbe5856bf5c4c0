import { describe, expect } from 'vitest'
import type { PermissionRequest } from '../../src/host/opencode.ts'
import { inOrder } from '../harness/replies.ts'
import type { ContractTest } from './contract-test.ts'
import { newChild, type HostUnderTest, type Observed } from './host-under-test.ts'

const BASH = { name: 'bash', args: { command: 'echo hello', description: 'Says hello' } }

/** Starts a child whose tool call waits for a permission. */
async function asking(host: HostUnderTest): Promise<{ child: Observed; request: PermissionRequest }> {
  const child = await newChild(host, {
    permission: [{ permission: 'bash', pattern: '*', action: 'ask' }],
  })
  host.setScript(inOrder({ tools: [BASH] }))
  await child.prompt('hello')
  const own = async () => (await host.opencode.permissions()).find(({ sessionID }) => sessionID === child.id)
  await host.waitUntil(async () => (await own()) !== undefined, 'a request for a permission')
  return { child, request: (await own()) as PermissionRequest }
}

export function permissions(test: ContractTest): void {
  describe('a tool call that waits for a permission', () => {
    test('and is rejected without a message ends the turn, without a further answer (8.2)', async ({
      host,
    }) => {
      const { child, request } = await asking(host)
      await host.opencode.rejectPermission(request.id)
      await child.idleTimes(1)
      await host.settle()
      expect(await child.toolStates()).toEqual(['error'])
      expect(await child.answers()).toHaveLength(1)
      expect(child.requests).toHaveLength(1)
      expect(child.idleCount).toBe(1)
    })

    test('and is rejected with a message lets its model continue (8.2)', async ({ host }) => {
      const { child, request } = await asking(host)
      await host.opencode.rejectPermission(request.id, 'Do without it.')
      await child.idleTimes(1)
      expect(await child.toolStates()).toEqual(['error'])
      expect(child.requests).toHaveLength(2)
      expect(child.requests[1]?.messages.at(-1)?.content).toContain('Do without it.')
    })

    test('and is aborted leaves its permission request behind (6.5)', async ({ host }) => {
      const { child, request } = await asking(host)
      await child.abort()
      await host.settle()
      expect((await host.opencode.permissions()).map(({ id }) => id)).toContain(request.id)
    })
  })
}
