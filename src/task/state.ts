/**
 * The state of a task, and the facts of its runs. `transition.ts` defines how a task gets from one state to the next. All times are
 * milliseconds since the Unix epoch.
 */
/** The model that was chosen for the work; `variant` is the host's name for reasoning effort. */
export interface TaskModel {
  readonly providerID: string
  readonly modelID: string
  readonly variant?: string
}

export interface TaskIdentity {
  /** `bg_` and 8 hexadecimal digits. */
  readonly id: string
  /** The ordinal of the task's run, from 1. */
  readonly run: number
  /** The child session, in which an agent works, and whose metadata holds the record. */
  readonly sessionID: string
  /** The session that launched the task and is notified of its end. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
  /** When the run was requested. */
  readonly createdAt: number
}

/** The usage of a run so far. */
export interface Usage {
  readonly toolCalls: number
  /** The sum of input, output, reasoning and cache tokens of all model calls. */
  readonly tokens: number
  /** US dollars, as the host computes them. */
  readonly cost: number
}

/** Limits of what a task or a session may use; each may be absent. */
export interface Budget {
  /** US dollars. */
  readonly cost?: number
  /** The sum of input, output, reasoning and cache tokens of all model calls. */
  readonly tokens?: number
  readonly toolCalls?: number
  /** Minutes at work: without waits for a slot and for permissions. */
  readonly minutes?: number
}

/** The exit of a process. */
export type Exit =
  | { readonly type: 'exited'; readonly code: number }
  /** Killed by a signal, as `SIGKILL`. */
  | { readonly type: 'killed'; readonly signal: string }

/** A text of `notifyOn` that appeared. Without `text`, none can appear: the leftover processes ended. */
export interface OutputMatch {
  readonly text?: string
  readonly at: number
}

/** The matches of a command with `notifyEvery` as of its newest notice, which may not be read yet. */
export interface Monitored {
  /** How many lines of its output have matched. */
  readonly matches: number
  /** How many notices of them the run has had. */
  readonly notices: number
  /** When the newest one became due. */
  readonly at: number
}

/** A port on which a command listened when its default time limit was over. */
export interface Listening {
  readonly port: number
  readonly at: number
}

/**
 * The changes of a run in its worktree. `none`: no change, and the worktree is removed. `kept`: no change that a commit can
 * hold, but git does not remove the directory, as with ignored files. `committed`: the branch has all changes. `failed`: git
 * could not commit them; only the directory has them. `removed`: the user has had the worktree and its branch removed; a ref
 * keeps the commit.
 */
export type Changes =
  | { readonly type: 'none' }
  | { readonly type: 'kept'; readonly why: string }
  | {
      readonly type: 'committed'
      readonly commit: string
      /** Since the launch, as all numbers. */
      readonly commits: number
      readonly files: number
      readonly insertions: number
      readonly deletions: number
      /** The first changed paths. */
      readonly paths: readonly string[]
      /** The first paths that conflict with the parent's checkout as it was at the end; absent where that is not known. */
      readonly conflicts?: readonly string[]
      /** The ids of the first tasks of the session that have changed the same files, in branches that still exist. */
      readonly rivals?: readonly string[]
      /** Names files that the branch lacks, and only the directory has, such as those in a submodule. */
      readonly left?: string
    }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'removed'; readonly commit: string }

/**
 * The result of an apply or of its check. `clean`: the check found no conflict. `nothing`: the checkout already has all changes.
 * `conflicts`: nothing was written. `paths` are the paths in conflict for `conflicts`, otherwise the changed ones. `submodules`
 * have new commits, which an apply does not write.
 */
export interface Applied {
  readonly type: 'applied' | 'clean' | 'nothing' | 'conflicts'
  readonly paths: readonly string[]
  readonly submodules?: readonly string[]
}

/** A permission request of the child session, in the host's terms. */
export interface PermissionRequested {
  readonly id: string
  readonly permission: string
  readonly patterns: readonly string[]
  /** When the request had stayed unanswered for so long that the parent is notified. */
  readonly unansweredAt?: number
}

export interface Failure {
  /**
   * `error`: the host, the model or the system reported an error. `empty`: an agent ended without text or
   * tool call. `exit`: a command ended with a code other than 0, or by a signal. `output`: a command exceeded
   * its output limit. `budget`: an agent has spent its budget, or that of its session. `dependency`: a task for which
   * it waited failed or was cancelled, so that it never started.
   */
  readonly reason: 'error' | 'timeout' | 'empty' | 'interrupted' | 'exit' | 'output' | 'budget' | 'dependency'
  readonly message: string
}

/**
 * Why the text of a completed agent is not a complete answer. `noAnswer`: the last message has no text, so
 * that the text precedes or accompanies a tool call. `length`: the model's output limit cut the answer.
 * `contentFilter`: the provider's filter cut it. `noEnd`: its finish reason is not a normal end. `steps`:
 * OpenCode told the agent to stop, because it had used up its steps.
 */
export type Incomplete = 'noAnswer' | 'length' | 'contentFilter' | 'noEnd' | 'steps'

/** The facts of a completed run besides its text. */
export interface Answered {
  readonly incomplete?: Incomplete
  /** The question to the parent that ends the answer of an agent: the next run of the task goes on with the reply. */
  readonly question?: string
}

/**
 * The end of a run. `text` is the result of an agent that completed, otherwise its last text; of a command
 * the end of its output.
 */
export type Outcome = {
  readonly text: string
  readonly usage: Usage
  readonly exit?: Exit
  readonly changes?: Changes
} & (
  | ({ readonly status: 'completed' } & Answered)
  | { readonly status: 'failed'; readonly failure: Failure }
  | { readonly status: 'cancelled'; readonly by: 'parent' | 'user' }
)

export interface Started {
  readonly startedAt: number
  /** How long the run has waited for permissions, in milliseconds, without the present wait; absent for no wait. */
  readonly waitedMs?: number
  /** Since when the machine of the task has not answered; absent while it does. */
  readonly lostAt?: number
  readonly matched?: OutputMatch
  readonly listening?: Listening
  readonly monitored?: Monitored
}

export interface Ended {
  /** Absent where the run ended before it started. */
  readonly startedAt?: number
  readonly endedAt: number
  /** How long the run waited for permissions, in milliseconds; absent for no wait. */
  readonly waitedMs?: number
  readonly usage: Usage
  /** The exit of a command that was started and is known to have ended. */
  readonly exit?: Exit
  /** Absent without a worktree, and where the run ended before that was made. */
  readonly changes?: Changes
  readonly matched?: OutputMatch
  readonly listening?: Listening
  readonly monitored?: Monitored
}

export type End =
  | ({ readonly status: 'completed' } & Answered & Ended)
  | ({ readonly status: 'failed'; readonly failure: Failure } & Ended)
  | ({ readonly status: 'cancelled'; readonly by: 'parent' | 'user' } & Ended)

/** The state of a task's newest run. */
export type TaskState =
  | { readonly status: 'pending' }
  | ({ readonly status: 'starting' } & Started)
  | ({ readonly status: 'running' } & Started)
  | ({
      readonly status: 'waiting'
      readonly permissionRequests: readonly [PermissionRequested, ...PermissionRequested[]]
      /** When the present wait began; absent in the record of an older version. */
      readonly waitingSince?: number
    } & Started)
  | End

export type TaskStatus = TaskState['status']

export const NO_USAGE: Usage = { toolCalls: 0, tokens: 0, cost: 0 }

/** Returns the sum of several usages. */
export function usedTogether(usages: readonly Usage[]): Usage {
  return usages.reduce(
    (all, { toolCalls, tokens, cost }) => ({
      toolCalls: all.toolCalls + toolCalls,
      tokens: all.tokens + tokens,
      cost: all.cost + cost,
    }),
    NO_USAGE,
  )
}
