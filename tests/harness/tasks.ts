/** Builds tasks for tests that need any task. */
import type { Usage, Failure } from '../../src/task/state.ts'
import type { AgentTask, CommandTask, EndedTask } from '../../src/task/task.ts'

export const USAGE: Usage = { toolCalls: 14, tokens: 18_200, cost: 0.04 }

type Identity = Omit<Extract<AgentTask, { status: 'pending' }>, 'status'>

const IDENTITY: Identity = {
  id: 'bg_1a2b3c4d',
  kind: 'agent',
  run: 1,
  sessionID: 'ses_child',
  parentID: 'ses_parent',
  agent: 'explore',
  description: 'find the auth entry points',
  prompt: 'Find them.',
  promptIDs: ['msg_prompt'],
  createdAt: 1_000,
}

export function pendingTask(changes: Partial<Identity> = {}): AgentTask {
  return { ...IDENTITY, ...changes, status: 'pending' }
}

/** Builds a command that waits for its slot. */
export function pendingCommand(): CommandTask & { readonly status: 'pending' } {
  const { id, run, sessionID, parentID, description, createdAt } = IDENTITY
  const same = { id, run, sessionID, parentID, description, createdAt }
  const work = { kind: 'command', command: 'npm test', cwd: '/', timeoutMs: 0, notifyOn: [] } as const
  return { ...same, ...work, status: 'pending' }
}

export function completedTask(changes: Partial<Identity> = {}): EndedTask & AgentTask {
  return { ...IDENTITY, ...changes, status: 'completed', startedAt: 2_000, endedAt: 74_000, usage: USAGE }
}

export function failedTask(reason: Failure['reason'], message: string): EndedTask & AgentTask {
  const { status: _, ...ended } = completedTask()
  return { ...ended, status: 'failed', failure: { reason, message } }
}

export function cancelledTask(by: 'parent' | 'user'): EndedTask & AgentTask {
  const { status: _, ...ended } = completedTask()
  return { ...ended, status: 'cancelled', by }
}
