/**
 * The timeline of a session: its own turns, and what happened to each of its tasks. `timelineOf` reads it, and the page draws
 * it. It is plain JSON, so that a page can contain it. All times are milliseconds since the Unix epoch.
 */
import type { TaskStatus, Usage } from '../task/state.ts'

export interface SessionTimeline {
  /** Of the session that launched the tasks. */
  readonly sessionID: string
  /** Empty when redacted. */
  readonly title: string
  readonly directory: string
  /** When it was read: unfinished tasks and turns end here. */
  readonly readAt: number
  /** The session's own turns, oldest first. */
  readonly turns: readonly Turn[]
  /** Oldest first. */
  readonly tasks: readonly TaskTimeline[]
  /** Of the options in OpenCode's configuration; absent where they set none. */
  readonly limits?: { readonly total?: number; readonly commands?: number }
  /** The findings, in one sentence each. */
  readonly findings: readonly string[]
  /** Whether texts were left out: titles, descriptions, prompts, results, paths and stories. */
  readonly redacted: boolean
}

/** A stretch of time. */
export interface Interval {
  readonly from: number
  readonly to: number
}

/** A message of a model: the time from its request to the end of its answer, with its tool calls. */
export interface Turn extends Interval {
  readonly model?: string
  readonly tokens: number
  /** US dollars, as OpenCode computes them. */
  readonly cost: number
  readonly tools: readonly ToolSpan[]
}

export interface ToolSpan extends Interval {
  readonly tool: string
  readonly failed?: true
}

/**
 * `queued`: it waits for a slot or for other tasks. `working`: it has a slot. `permission`: it waits for an answer. `retry`: its
 * provider was overloaded. `unknown`: nothing was recorded.
 */
export type PhaseType = 'queued' | 'working' | 'permission' | 'retry' | 'unknown'

export interface Phase extends Interval {
  readonly type: PhaseType
}

/**
 * `steered`: a prompt reached the running task. `continued`: a next run was requested. `matched`: its output has a text of
 * `notify_on`. `noticed`: a notice was sent to the parent. `read`: the parent's model has read the end.
 */
export type MarkType = 'steered' | 'continued' | 'matched' | 'noticed' | 'read'

export interface Mark {
  readonly type: MarkType
  readonly at: number
}

/** A run of a task. */
export interface RunTimeline extends Interval {
  readonly run: number
  /** Absent if it was not recorded: a record has only the last few runs of a task. */
  readonly status?: TaskStatus
  /** Why it failed, as `timeout`. */
  readonly reason?: string
  /** In order of time, without gaps. */
  readonly phases: readonly Phase[]
}

export interface TaskTimeline {
  readonly id: string
  readonly kind: 'agent' | 'command'
  /** Empty when redacted. */
  readonly description: string
  /** Agents only. */
  readonly agent?: string
  readonly model?: string
  readonly status: TaskStatus
  readonly runs: readonly RunTimeline[]
  /** The model's messages of all runs, oldest first. */
  readonly turns: readonly Turn[]
  readonly marks: readonly Mark[]
  /** The ids of the tasks for whose ends it waited. */
  readonly after?: readonly string[]
  /** Of all runs. */
  readonly usage: Usage
  /** Waiting for a slot, for other tasks, or for a permission. */
  readonly waitingMs: number
  readonly workingMs: number
  /** What was not recorded, in a few words each. */
  readonly unknown: readonly string[]
  /** Absent when redacted. */
  readonly texts?: TaskTexts
}

/** Texts are data, never markup. A cut text says how much is missing. */
export interface TaskTexts {
  /** The prompt, or the command line. */
  readonly prompt: string
  readonly result: string
  /** The changes in its worktree; empty without one. */
  readonly changes: string
  /** A line for each recorded step: its time (ISO 8601, UTC) and what happened. */
  readonly story: readonly string[]
}
