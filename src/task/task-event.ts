/** The events that lead a task from one state to the next, as `transition.ts` defines. */
import type { Budgeted, NextRun } from './next-run.ts'
import type { Listening, Monitored, Outcome, OutputMatch, PermissionRequested } from './state.ts'
import type { PromptedWork } from './task.ts'

type Worktree = NonNullable<PromptedWork['worktree']>

export type TaskEvent =
  | { readonly type: 'slotTaken'; readonly at: number }
  | { readonly type: 'prompted'; readonly at: number }
  /** A prompt was added before the run began, and maybe a budget. */
  | ({ readonly type: 'appended'; readonly prompt: string } & Budgeted)
  /** All tasks of `after` have completed: their results join the prompt, and the task may be queued. */
  | { readonly type: 'released'; readonly results: string; readonly worktree?: Worktree }
  /** A message of the plugin steered the run. `why`: the message says that a budget is nearly spent. */
  | ({ readonly type: 'steered'; readonly promptID: string; readonly why?: 'budget' } & Budgeted)
  /**
   * A `notifyOn` text appeared in the output of a command, or none can appear any more. Only the first match
   * counts; it may come from leftover processes, after the end.
   */
  | { readonly type: 'outputMatched'; readonly match: OutputMatch }
  /** A notice of matching lines is due. */
  | { readonly type: 'monitored'; readonly monitored: Monitored }
  /** The default time limit of a command is over, and the command listens on a port. */
  | { readonly type: 'listening'; readonly listening: Listening }
  /** The session on the machine exists, and is not prompted yet. */
  | { readonly type: 'placed'; readonly sessionID: string; readonly directory: string; readonly url: string }
  /** The machine has not answered since `at`. */
  | { readonly type: 'contactLost'; readonly at: number }
  | { readonly type: 'contactFound' }
  | { readonly type: 'permissionAsked'; readonly request: PermissionRequested; readonly at: number }
  /** A permission request stayed unanswered for so long that the parent is notified. */
  | { readonly type: 'permissionUnanswered'; readonly requestID: string; readonly at: number }
  | { readonly type: 'permissionReplied'; readonly requestID: string; readonly at: number }
  | { readonly type: 'ended'; readonly at: number; readonly outcome: Outcome }
  /** The user has had the worktree and the branch of an ended task removed. */
  | { readonly type: 'treeRemoved'; readonly commit: string }
  /** A prompt after the end requested the next run. */
  | { readonly type: 'continued'; readonly next: NextRun }
