/** Reads of a session that rarely need more than its newest messages. */
import type { Opencode, StoredMessage } from './opencode.ts'

/** One page. */
const NEWEST = 16

/** Returns the newest messages if they are enough, otherwise all of the session. Rejects with a `HostError`. */
export async function readBack(
  opencode: Opencode,
  sessionID: string,
  isEnough: (newest: readonly StoredMessage[]) => boolean,
): Promise<readonly StoredMessage[]> {
  const newest = await opencode.newestMessages(sessionID, NEWEST)
  return newest.length < NEWEST || isEnough(newest) ? newest : opencode.messages(sessionID)
}
