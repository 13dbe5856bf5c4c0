/**
 * The seam between the engine and the kinds of work: how each is queued, limited, run, found again after a restart, and
 * reported. The executor, the recovery and the manager ask the kind of a task, and do not branch on it.
 */
import type { TaskMessage } from '../host/message.ts'
import type { AgentTask, CommandTask, EndedTask, Outcome, Task } from '../task/task.ts'
import type { Piece } from '../text/pages.ts'
import type { RunSummary } from './agent/transcript.ts'
import type { CommandOutput, Stream } from './command/files.ts'
import type { Queue } from './queue.ts'

export interface WorkKind<Kind extends Task> {
  readonly queue: Queue
  /** How long a run may take, in milliseconds; 0: no limit. */
  timeLimitOf(task: Kind): number
  /** Whether a run goes on although its time limit is over. */
  outlivesLimit(task: Kind): boolean
  /**
   * Does the work of a task, or goes on with one that another process has begun. Resolves when it has really stopped; never
   * rejects.
   *
   * @param onStarted called once, when the work has been handed over and begins
   * @param stop aborted with a `StopCause` when the work is to stop; the outcome then names that cause, unless the work
   *   was faster
   */
  run(task: Kind, onStarted: () => void, stop: AbortSignal): Promise<Outcome>
  /**
   * Finds what became of a recorded task whose process is gone. Rejects with a `HostError`.
   *
   * @param isTold whether the parent's model knows of an end; the text of such an end is not read
   */
  recover(recorded: Kind, isTold: (task: EndedTask) => boolean): Promise<Recovered>
  /** Reads the work of a task for whoever looks at it. Rejects with a `HostError`. */
  report(task: Kind, options: ReportOptions): Promise<WorkReport>
  /** Whether an unfinished task may never end, as a server does not. */
  isService(task: Kind): boolean
  /** Whether a task has ended, and something that it has started runs on. */
  hasLeftovers(task: Kind): boolean
  /** Kills the leftover processes of an ended task. Resolves with whether there were any. */
  killLeftovers(task: Kind): Promise<boolean>
  /** Nobody is owed the end of a task any more. */
  endWasTold(task: Kind): void
}

export interface WorkKinds {
  readonly agent: WorkKind<AgentTask>
  readonly command: WorkKind<CommandTask>
}

/** The end of a run, with its text. */
export interface RunEnd {
  readonly task: EndedTask
  readonly text: string
}

/** A task that was found again: it has ended, or it runs on and is to be resumed. */
export interface Recovered {
  readonly task: Task
  /** The ends of its runs, the oldest first; none of a run that goes on. */
  readonly ends: readonly RunEnd[]
  /** Stops what may still go on for a run that has ended. Called when the task is known; never rejects. */
  readonly stopRest?: () => Promise<void>
}

export interface ReportOptions {
  /** Of a command: only so many of the last lines of each stream. */
  readonly tailLines?: number | undefined
  /** Of a command: so many bytes of a stream from `offset` on as well, in bytes. */
  readonly piece?: { readonly stream: Stream; readonly offset: number; readonly bytes: number } | undefined
}

export interface WorkReport {
  /** Of a command: the ends of both streams, and the directory of the files that hold all of them. */
  readonly output: CommandOutput | undefined
  /** The piece that was asked for. */
  readonly piece?: Piece
  /** A summary of the run by its session's messages; `undefined` before it has started, and when the session was deleted. */
  readonly transcript: RunSummary | undefined
  /** All messages of its session, those of earlier runs too, the oldest first. */
  readonly messages: readonly TaskMessage[]
}

/** The kind of a task. */
export function kindOf(kinds: WorkKinds, task: Task): WorkKind<Task> {
  return kinds[task.kind]
}
