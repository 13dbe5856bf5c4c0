/** An agent whose run is a job of a fleet. */
import { errorText } from '../../host/opencode.ts'
import type { AgentTask, Task } from '../../task/task.ts'
import type { Worktree } from '../../work/agent/agent-work.ts'
import { readCheckpoint, readResult, type Result } from '../payload.ts'
import type { EndedJob } from './fleet-run.ts'

/** A task with what each task of a fleet has. */
export type FleetTask = AgentTask & { readonly worktree: Worktree }

export function hasWorktree(task: AgentTask): task is FleetTask {
  return task.worktree !== undefined
}

/** Returns the id of the job of a run. */
export function jobOf({ id, run }: Pick<Task, 'id' | 'run'>): string {
  return `${id}.${run}`
}

/** Reads the result of a job; `problem`: why it cannot be read. */
export function resultIn({ result }: EndedJob): { readonly result?: Result; readonly problem?: string } {
  if (result === undefined) return {}
  try {
    return { result: readResult(result) }
  } catch (error) {
    return { problem: errorText(error) }
  }
}

/** Returns the code of an end: that of its result, or of the last checkpoint. Throws a `BadPayload`. */
export function codeIn(job: EndedJob): Result['code'] | undefined {
  const { result } = resultIn(job)
  if (result) return result.code
  return job.checkpoint === undefined ? undefined : { type: 'committed', ...readCheckpoint(job.checkpoint) }
}
