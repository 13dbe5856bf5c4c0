/**
 * Checks each fact about its host that this plugin relies on, once. The suite runs against the real binary
 * and the fake, so that a fast test on the fake holds for OpenCode. The numbers in the names are the sections
 * of the host contract. Where the two differ, the real host is right.
 */
import { describe } from 'vitest'
import { aborts } from './aborts.ts'
import { compaction } from './compaction.ts'
import { contractTest } from './contract-test.ts'
import { directories } from './directories.ts'
import { failures } from './failures.ts'
import type { HostUnderTest } from './host-under-test.ts'
import { messageIDs } from './message-ids.ts'
import { parents } from './parents.ts'
import { permissions } from './permissions.ts'
import { prompts } from './prompts.ts'
import { sessions } from './sessions.ts'
import { turns } from './turns.ts'

const TIME_LIMIT_MS = 60_000

export function hostContract(name: string, makeHost: () => Promise<HostUnderTest>): void {
  const test = contractTest(makeHost)
  describe(`the host contract on ${name}`, { timeout: TIME_LIMIT_MS }, () => {
    for (const subject of [
      turns,
      failures,
      aborts,
      prompts,
      messageIDs,
      sessions,
      parents,
      compaction,
      permissions,
      directories,
    ])
      subject(test)
  })
}
