/** Reads a session back from its newest message: the whole session only where the newest messages are not enough. */
import type { Opencode, StoredMessage } from './opencode.ts'

/** The size of a page. */
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
