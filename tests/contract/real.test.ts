import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/host/calls.ts'
import { startModel } from '../harness/model.ts'
import { startOpencode } from '../harness/server.ts'
import { hostContract } from './contract.ts'
import type { HostUnderTest } from './host-under-test.ts'

const git = promisify(execFile)

const WAIT_LIMIT_MS = 30_000
const POLL_MS = 5
/** The longest silence of a host that is still at work: an aborted tool call takes 285 ms (1.10). */
const SETTLE_MS = 400
/** How much a host that rests runs in that time, for its own timers. */
const REST_MS = 45
/** After so many times without an event the host counts as at rest, whatever it runs: a busy machine makes all it does longer. */
const LONG = 4

/** Returns how long the main thread of a process has run, in milliseconds. */
const ranMs = (pid: number): number =>
  Number.parseInt(readFileSync(`/proc/${pid}/schedstat`, 'utf8')) / 1_000_000

/** Whether the main thread of a process waits for something else than a processor, and no child process runs, as git. */
function isWaiting(pid: number): boolean {
  const isAsleep = /^State:\s+S/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return isAsleep && readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8') === ''
}

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
      for (let silent = 0; ;) {
        const told = server.events.all.length
        const before = ranMs(server.pid)
        await sleep(SETTLE_MS)
        // On a busy machine the host may be behind.
        const rests = ranMs(server.pid) - before < REST_MS && isWaiting(server.pid)
        // The events before the answer of a call have arrived with it.
        await server.client.session.status()
        silent = server.events.all.length > told ? 0 : silent + 1
        if (silent === LONG || (silent > 0 && rests)) return
      }
    },
    async close() {
      await server.stop()
      await model.close()
    },
  }
}

hostContract('the real OpenCode', realUnderTest)
