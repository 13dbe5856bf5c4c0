/**
 * The seam between the engine and the kinds of work: how each kind is queued, limited, run, recovered, and
 * reported. The executor, the recovery and the manager call the kind of a task instead of branching on it.
 */
import type { TaskMessage } from '../host/message.ts'
import type { PermissionRuleset, Session } from '../host/opencode.ts'
import type { Outcome } from '../task/state.ts'
import type { EndedTask, Task } from '../task/task.ts'
import type { Piece } from '../text/pages.ts'
import type { RunSummary } from './agent/transcript.ts'
import type { CommandOutput } from './command/files.ts'
import type { Stream } from './command/logs.ts'
import type { MonitorView, TakenMatches } from './command/monitoring.ts'
import type { Work } from './work.ts'
import type { Queue } from './queue.ts'

export interface WorkKind<Kind extends Task> {
  readonly queue: Pick<Queue, 'add' | 'remove' | 'placeOf'>
  /** Whether the work continues when this process ends, so that a later process observes its end. */
  readonly isElsewhere?: boolean
  /** The time limit of a run in milliseconds; 0: no limit. */
  timeLimitOf(task: Kind): number
  /**
   * Does the work of a task, or resumes work that another process started. Resolves when the work has really
   * stopped; never rejects.
   *
   * @param onStarted called once, when the work was accepted and starts
   * @param stop aborted with a `StopCause` to stop the work; the outcome then names that cause, unless the
   *   work ended first
   */
  run(task: Kind, onStarted: () => void, stop: AbortSignal): Promise<Outcome>
  /**
   * Determines the current state of a recorded task whose process is gone. Rejects with a `HostError`.
   *
   * @param isTold whether the parent's model already knows an end; the text of such an end is not read
   */
  recover(recorded: Kind, isTold: (task: EndedTask) => boolean): Promise<Recovered>
  /** Reads the output and the messages of a task. Rejects with a `HostError`. */
  report(task: Kind, options: ReportOptions): Promise<WorkReport>

  // A kind omits the members that do not apply to it.

  /** Whether a run continues past its time limit. */
  outlivesLimit?(task: Kind): boolean
  /** Returns the end of its output, of about `bytes` bytes. */
  textOf?(task: Kind, bytes: number): string
  /** Whether an unfinished task may never end, such as a server. */
  isService?(task: Kind): boolean
  /** Whether a running task has given its last answer, so that its end follows. */
  isFinishing?(task: Kind): boolean
  /** Whether a task has ended, and processes that it started still run. */
  hasLeftovers?(task: Kind): boolean
  /** Kills the leftover processes of an ended task. Resolves with whether there were any. */
  killLeftovers?(task: Kind): Promise<boolean>
  /** Returns the notice of matching lines that is due, with its text; `undefined` if none is. */
  takeMatches?(task: Kind): TakenMatches | undefined
  /** Called when the parent's model has read the notice of matching lines of this number. */
  matchesWereTold?(task: Kind, notices: number): void
  /** Called when the end of a task is settled: no parent is owed it any more. */
  endWasTold?(task: Kind): void
}

export type WorkKinds = {
  readonly [Kind in Task['kind']]: WorkKind<Extract<Task, { readonly kind: Kind }>>
}

/** Returns the kind of a task. */
export type KindOf = (task: Task) => WorkKind<Task>

/** The part of a request that each kind of work has. */
export interface LaunchOf {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
}

/** The identity of the first run of a task. */
export type NewRun = Pick<Task, 'id' | 'run' | 'createdAt'>

export interface NewWork<Each extends Work> {
  readonly work: Each
  /** The permissions of its child session. */
  readonly permission: PermissionRuleset
  /** Undoes the preparation, because no task was created. Never rejects. */
  readonly discard?: () => Promise<void>
}

/** Makes the work of a kind of requests to launch it. */
export interface KindLaunch<Request extends LaunchOf, Each extends Work> {
  readonly kind: Each['kind']
  /** Throws a `ToolError` for a request that no host could meet. */
  check(request: Request): void
  /** Rejects with a `ToolError` if the request cannot be met, and with a `HostError`. */
  prepare(request: Request, run: NewRun, parent: Promise<Session>): Promise<NewWork<Each>>
}

/** The end of a run, with its text. */
export interface RunEnd {
  readonly task: EndedTask
  readonly text: string
}

/** A recovered task: it has ended, or it still runs and must be resumed. */
export interface Recovered {
  readonly task: Task
  /** The ends of its runs, oldest first; an unfinished run has none. */
  readonly ends: readonly RunEnd[]
  /** The newest notice of matching lines, which the parent may have. */
  readonly matches?: TakenMatches | undefined
  /** Stops work that may still run for an ended run. Called after the store has the task; never rejects. */
  readonly stopRest?: () => Promise<void>
}

export interface ReportOptions {
  /** Agents only: how many of the session's newest messages to read; none by default, `Infinity` for all. */
  readonly messages?: number | undefined
  /** Commands only: at most this many of the last lines of each stream. */
  readonly tailLines?: number | undefined
  /** Commands only: also read this many bytes of a stream, from `offset` (in bytes). */
  readonly piece?: { readonly stream: Stream; readonly offset: number; readonly bytes: number } | undefined
}

export interface WorkReport {
  /** Commands only: the ends of both streams, and the directory whose files contain all of them. */
  readonly output: CommandOutput | undefined
  /** Commands with `notifyEvery` only: the lines that have matched. */
  readonly monitor?: MonitorView | undefined
  /** The requested piece. */
  readonly piece?: Piece
  /** A summary of the run's messages; `undefined` before its start, and after its session was deleted. */
  readonly transcript: RunSummary | undefined
  /** As many of the newest messages of its session as were requested, including those of earlier runs, oldest first. */
  readonly messages: readonly TaskMessage[]
}
