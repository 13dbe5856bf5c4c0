import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/host/opencode.ts'
import { startModel } from '../harness/model.ts'
import { startOpencode } from '../harness/server.ts'
import { hostContract } from './contract.ts'
import type { HostUnderTest } from './host-under-test.ts'

const git = promisify(execFile)

const WAIT_LIMIT_MS = 30_000
const POLL_MS = 5
/** The longest silence of a host that is still at work: an aborted tool call takes 285 ms (1.10). */
const SETTLE_MS = 400
const ROUND_TRIPS = 30

async function realUnderTest(): Promise<HostUnderTest> {
  const model = await startModel()
  const server = await startOpencode({ model })
  let checkouts = 0

  return {
    opencode: connect(server.client, server.directory, systemClock),
    events: server.events.all,
    modelRequests: model.requests,
    setScript: (script) => {
      model.script = script
    },
    createRootSession: () => server.createSession({ title: 'Root' }),
    userPrompt: (sessionID, text) => server.prompt(sessionID, text),
    async userAbort(sessionID) {
      await server.client.session.abort({ path: { id: sessionID }, throwOnError: true })
    },
    async userRevert(sessionID, messageID) {
      await server.client.session.revert({ path: { id: sessionID }, body: { messageID }, throwOnError: true })
    },
    async deleteSession(sessionID) {
      await server.client.session.delete({ path: { id: sessionID }, throwOnError: true })
    },
    async otherCheckout() {
      const directory = join(server.home, `checkout-${(checkouts += 1)}`)
      await git('git', ['-C', server.directory, 'worktree', 'add', '--quiet', '--detach', directory])
      return directory
    },
    async waitUntil(predicate, description) {
      const end = Date.now() + WAIT_LIMIT_MS
      while (!(await predicate())) {
        if (Date.now() > end) throw new Error(`Not within ${WAIT_LIMIT_MS} ms: ${description}`)
        await sleep(POLL_MS)
      }
    },
    async settle() {
      let told: number
      do {
        told = server.events.all.length
        await sleep(SETTLE_MS)
        // On a busy machine these calls take as long as the rest of the host's work does.
        for (let count = 0; count < ROUND_TRIPS; count += 1) await server.client.session.status()
      } while (server.events.all.length > told)
    },
    async close() {
      await server.stop()
      await model.close()
    },
  }
}

hostContract('the real OpenCode', realUnderTest)
