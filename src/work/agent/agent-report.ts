/** Reads what an agent has done from the messages of its session. */
import { HostError, type Opencode, type StoredMessage } from '../../host/opencode.ts'
import { NO_USAGE } from '../../task/state.ts'
import { isEnded, type AgentTask, type EndedTask } from '../../task/task.ts'
import type { WorkReport } from '../kind.ts'
import { readTranscript, transcriptOfNewest, type RunSummary, type Transcript } from './transcript.ts'

/**
 * Reports no messages before the first prompt, and none of a deleted session.
 *
 * @param count how many of the newest messages to report
 * @param summary the progress of a run, if its events show it
 */
export async function reportOf(
  opencode: Opencode,
  task: AgentTask,
  count: number,
  summary: RunSummary | undefined,
): Promise<WorkReport> {
  const isPrompted = task.status !== 'pending' || task.run > 1
  const messages = isPrompted && count > 0 ? await newestMessages(opencode, task.sessionID, count) : []
  const transcript = summary ?? (isPrompted ? await summaryOf(opencode, task) : undefined)
  return { messages, transcript, output: undefined }
}

/** Reads as few messages as show the run. */
async function summaryOf(opencode: Opencode, task: AgentTask): Promise<RunSummary | undefined> {
  if (isEnded(task)) {
    const transcript = await answerOf(opencode, task)
    if (transcript) return { ...transcript, usage: task.usage }
  }
  const messages = await newestMessages(opencode, task.sessionID, Infinity)
  return messages.length > 0 ? readTranscript(messages, task.promptIDs) : undefined
}

/** Reads the end of an ended run from the newest message of its session; `undefined` if that does not show it. */
export async function answerOf(
  opencode: Opencode,
  { sessionID, promptIDs }: AgentTask & EndedTask,
): Promise<Transcript | undefined> {
  if (promptIDs.length > 1) return undefined
  const [newest] = await newestMessages(opencode, sessionID, 1)
  return transcriptOfNewest(newest, promptIDs[0], { usage: NO_USAGE, steps: 0, text: undefined })
}

async function newestMessages(
  opencode: Opencode,
  sessionID: string,
  count: number,
): Promise<readonly StoredMessage[]> {
  try {
    return await opencode.newestMessages(sessionID, count)
  } catch (error) {
    // The caller can retry after any other error.
    if (error instanceof HostError && error.reason === 'notFound') return []
    throw error
  }
}
