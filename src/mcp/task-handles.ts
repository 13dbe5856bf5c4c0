/**
 * Converts tasks for the tasks extension of MCP (io.modelcontextprotocol/tasks, 2026-07-28). A client that declares it receives a
 * task handle as the result of a launch, and polls for the end. The handle is durable, because the record is written before it
 * is returned. Pure.
 */
import type { ClientCapabilities, Result } from '@modelcontextprotocol/server'
import { isEnded, type Task } from '../task/task.ts'
import { KEPT_MS } from '../work/command/logs.ts'

export const TASKS = 'io.modelcontextprotocol/tasks'

/** How often a client should ask. */
const POLL_MS = 1000
const INTERNAL_ERROR = -32603

type Status = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'

export function knowsTasks(capabilities: ClientCapabilities | undefined): boolean {
  const { extensions } = (capabilities ?? {}) as { readonly extensions?: Readonly<Record<string, unknown>> }
  return extensions?.[TASKS] !== undefined
}

/** Returns the result of a call that has started a task. */
export function handleOf(task: Task): { readonly [key: string]: unknown } {
  return { resultType: 'task', ...stateOf(task) }
}

/**
 * Returns the state of a task with its end.
 *
 * @param result the answer of the tool that reads the task
 */
export function detailsOf(task: Task, result: Result): { readonly [key: string]: unknown } {
  const state = stateOf(task)
  if (state.status === 'completed') return { ...state, result }
  if (task.status !== 'failed') return { ...state }
  return { ...state, error: { code: INTERNAL_ERROR, message: task.failure.message, data: result } }
}

function stateOf(task: Task) {
  const { startedAt = task.createdAt } = { startedAt: undefined, ...task }
  return {
    taskId: task.id,
    status: statusOf(task),
    statusMessage: task.description,
    createdAt: new Date(task.createdAt).toISOString(),
    lastUpdatedAt: new Date(isEnded(task) ? task.endedAt : startedAt).toISOString(),
    ttlMs: KEPT_MS,
    pollIntervalMs: POLL_MS,
  }
}

/** A command that exited with an error code counts as completed, so that the client receives its output as a result. */
function statusOf(task: Task): Status {
  if (!isEnded(task)) return 'working'
  return task.status === 'failed' && task.failure.reason === 'exit' ? 'completed' : task.status
}
