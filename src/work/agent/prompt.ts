/** Prompts of ours for child sessions. */
import { HostError, type Opencode, type Prompt } from '../../host/opencode.ts'
import type { AgentTask } from '../../task/task.ts'

export function promptOf(task: AgentTask, promptID: string, text: string): Prompt {
  return {
    messageID: promptID,
    agent: task.agent,
    ...(task.model && { model: task.model }),
    // The id of the message is unique, and so is what follows from it.
    parts: [{ id: promptID.replace(/^msg/, 'prt'), text, synthetic: false }],
  }
}

/**
 * Sends a prompt, and once more where no answer came: the message has an id of ours, so that it is stored once all the same.
 * Rejects with a `HostError`.
 */
export async function sendPrompt(
  opencode: Opencode,
  sessionID: string,
  prompt: Prompt,
  isWanted: () => boolean,
): Promise<void> {
  try {
    await opencode.prompt(sessionID, prompt)
  } catch (error) {
    if (!(error instanceof HostError) || error.reason !== 'noAnswer' || !isWanted()) throw error
    await opencode.prompt(sessionID, prompt)
  }
}
