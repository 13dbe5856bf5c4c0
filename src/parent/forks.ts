/**
 * Finds the session that launched a task in a fork's history. A fork copies the messages of the original, and with them its
 * task ids, but the tasks and their notices stay with the original.
 */
import type { Opencode, StoredMessage } from '../host/opencode.ts'
import { readRecord } from '../task/record.ts'

/** The metadata that a launching tool returns, as OpenCode stores it in the part of the call. */
interface Launched {
  readonly taskID: string
  readonly sessionID: string
}

/**
 * Returns the session that launched a task in this session's history, if it is another session.
 *
 * @param taskID default: the newest task in the history
 */
export async function forkedFrom(
  opencode: Opencode,
  sessionID: string,
  taskID?: string,
): Promise<string | undefined> {
  const launched = (await opencode.messages(sessionID)).flatMap(launchedIn)
  const found = launched.findLast((each) => taskID === undefined || each.taskID === taskID)
  const parentID = found && readRecord(await opencode.session(found.sessionID))?.task.parentID
  return parentID === sessionID ? undefined : parentID
}

function launchedIn({ parts }: StoredMessage): Launched[] {
  return parts.flatMap((part) => {
    if (part.type !== 'tool' || part.state.status !== 'completed') return []
    const { taskID, sessionID } = part.state.metadata
    return typeof taskID === 'string' && typeof sessionID === 'string' ? [{ taskID, sessionID }] : []
  })
}
