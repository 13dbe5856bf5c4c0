/** Builds and sends the prompts of child sessions. */
import { HostError, type Opencode, type Prompt } from '../../host/opencode.ts'
import type { AgentTask } from '../../task/task.ts'
import { HOW_TO_ASK } from '../../text/question.ts'

/** Returns the text that starts a run: its prompt, after the directory of an agent that has one of its own. */
export function firstTextOf({ prompt, worktree, place }: AgentTask): string {
  if (!worktree) return prompt
  return `You work in a git worktree of your own, ${(place?.type === 'machine' && place.directory) || worktree.directory}: change no files outside of it.\n\n${prompt}`
}

export function promptOf(task: AgentTask, promptID: string, text: string): Prompt {
  return {
    messageID: promptID,
    agent: task.agent,
    ...(task.model && { model: task.model }),
    // Each prompt has it, because a system prompt that changes would cost the provider's cache.
    system: HOW_TO_ASK,
    // The part's id is unique, because the message's id is.
    parts: [{ id: promptID.replace(/^msg/, 'prt'), text, synthetic: false }],
  }
}

/**
 * Sends a prompt, and sends it again if OpenCode did not answer and it is still wanted. OpenCode stores it once, because
 * its id is ours. Rejects with a `HostError`.
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
