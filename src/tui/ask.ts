/**
 * Sends requests to the server part through the metadata of the child session, and awaits the answer there
 * (`task/request.ts`). The plugin in the parent's directory receives no events of a session in a worktree, so a command names
 * the session to it.
 */
import type { Event } from '@opencode-ai/sdk/v2'
import type { Clock } from '../clock.ts'
import {
  readRequest,
  REQUEST_COMMAND,
  REQUEST_KEY,
  type RequestReply,
  type TaskRequest,
} from '../task/request.ts'
import type { Task } from '../task/task.ts'
import type { Host } from './host.ts'

interface Ports {
  readonly host: Pick<Host, 'session' | 'replaceMetadata' | 'publishCommand'>
  readonly clock: Clock
  readonly onSessionUpdated: (
    handler: (event: Extract<Event, { type: 'session.updated' }>) => void,
  ) => () => void
}

/** Time limit of an answer, long enough for a cancelled command to end. */
const ANSWER_WITHIN_MS = 30_000

/** Resolves with the answer. Rejects where OpenCode is unreachable or no answer arrives in time. */
export async function ask(
  { host, clock, onSessionUpdated }: Ports,
  { sessionID, parentID, run }: Pick<Task, 'sessionID' | 'parentID' | 'run'>,
  request: Omit<TaskRequest, 'id' | 'run' | 'answer'>,
): Promise<RequestReply> {
  const id = crypto.randomUUID()
  let cancelLimit = (): void => {}
  let stopListening = (): void => {}
  const answered = new Promise<RequestReply>((resolve, reject) => {
    stopListening = onSessionUpdated(({ properties: { info } }) => {
      const found = info.id === sessionID ? readRequest(info.metadata) : undefined
      if (found?.id === id && found.answer) resolve(found.answer)
    })
    cancelLimit = clock.after(ANSWER_WITHIN_MS, () => {
      reject(
        new Error('opencode-background did not answer. Is it loaded in the OpenCode that runs this task?'),
      )
    })
  })
  try {
    const [{ directory, metadata }, parent] = await Promise.all([
      host.session(sessionID),
      host.session(parentID),
    ])
    await host.replaceMetadata(sessionID, { ...metadata, [REQUEST_KEY]: { id, run, ...request } })
    if (directory !== parent.directory)
      await host.publishCommand(REQUEST_COMMAND + sessionID, parent.directory)
    return await answered
  } catch (error) {
    // Withdraw the request, so that no process acts on it later.
    const { metadata: { [REQUEST_KEY]: _, ...rest } = {} } = await host.session(sessionID)
    await host.replaceMetadata(sessionID, rest)
    throw error
  } finally {
    cancelLimit()
    stopListening()
  }
}
