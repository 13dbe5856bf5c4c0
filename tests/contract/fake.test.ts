import { expect } from 'vitest'
import type { Event } from '../../src/host/opencode.ts'
import { FakeHost } from '../harness/fake-host.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { hostContract } from './contract.ts'
import { contractTest, type ContractTest } from './contract-test.ts'
import type { HostUnderTest } from './host-under-test.ts'
import { BAD, inOrder } from '../harness/replies.ts'

const WAIT_LIMIT_MS = 10_000
const SETTLE_MS = 1_000

/** Starts the fake on a clock that advances as fast as it can until the suite ends. */
async function fakeUnderTest(): Promise<HostUnderTest> {
  const clock = new ManualClock()
  const host = new FakeHost(clock)
  // The only command of the suite runs for longer than a case.
  host.runTool = async ({ name }, sessionID) => {
    if (host.session(sessionID).permission?.some((rule) => rule.action === 'ask'))
      await host.needPermission(sessionID, name)
    return name === 'bash' ? new Promise(() => {}) : 'ok'
  }
  const events: Event[] = []
  host.onEvent((event) => events.push(event))

  const closing = new AbortController()
  const run = async (): Promise<void> => {
    while (!closing.signal.aborted) await clock.advance(1)
  }
  const stopped = run()

  return {
    opencode: host.opencode,
    events,
    get modelRequests() {
      return host.modelRequests
    },
    setScript: (script) => {
      host.script = script
    },
    createRootSession: async () => host.createRootSession(),
    userPrompt: async (sessionID, text) => void host.userPrompt(sessionID, text),
    userAbort: (sessionID) => host.userAbort(sessionID),
    userRevert: async (sessionID, messageID) => host.userRevert(sessionID, messageID),
    deleteSession: async (sessionID) => host.deleteSession(sessionID),
    otherCheckout: async () => '/checkout',
    async waitUntil(predicate, description) {
      const end = clock.now() + WAIT_LIMIT_MS
      while (!(await predicate())) {
        if (clock.now() > end) throw new Error(`Not within ${WAIT_LIMIT_MS} ms: ${description}`)
        await clock.settle()
      }
    },
    async settle() {
      const end = clock.now() + SETTLE_MS
      while (clock.now() < end) await clock.settle()
    },
    async close() {
      closing.abort()
      await stopped
    },
  }
}

/**
 * Shows that a prompt stored between the two idles of a failure joins the failed run. The real host does it
 * too (seen), within about 30 ms. Not in the shared suite, because the call alone takes 8 to 24 ms (4.1), so
 * that no test hits that window reliably. The suite covers the message that was queued behind a failure.
 */
function swallowedPrompt(test: ContractTest): void {
  test('a prompt between the two idles of a failure is stored and never answered', async ({
    child,
    host,
  }) => {
    host.setScript(inOrder(BAD))
    await child.prompt('one')
    await child.told('idle')
    await child.queued('two')
    expect(child.idleCount).toBe(1)
    await host.settle()
    expect(child.idleCount).toBe(2)
    expect(child.requests).toHaveLength(1)
    expect(await child.answeredTo()).toEqual(['one'])
    expect(await host.opencode.statuses()).not.toHaveProperty(child.id)
  })
}

hostContract('the fake host', fakeUnderTest)
swallowedPrompt(contractTest(fakeUnderTest))
