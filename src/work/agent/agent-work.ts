/** The work of an agent, as a task and its record hold it. Pure. */
import * as z from 'zod/mini'
import { endSchema, usageSchema } from '../../task/state-schema.ts'
import type { Budget, End, TaskIdentity, TaskModel, Usage } from '../../task/state.ts'

export interface AgentWork {
  readonly kind: 'agent'
  readonly agent: string
  /** Absent where the host chooses. */
  readonly model?: TaskModel
  /** The limit of model calls in a run; absent where the agent has none. */
  readonly maxSteps?: number
  /** The text that starts the run; '' once an answer shows that the session holds it. */
  readonly prompt: string
  /** The plugin's messages of the run: the prompt that starts it, then the steers. */
  readonly promptIDs: readonly [string, ...string[]]
  /** Absent where the parent's model requested this run. `restart`: it continues a run that a restart has cut off. */
  readonly askedBy?: 'user' | 'restart'
  /** The ends of the last few runs before this one, oldest first. */
  readonly earlier?: readonly EarlierRun[]
  /** The total usage of the runs before `earlier`. */
  readonly usedBefore?: Usage
  /** How long the runs before `earlier` were at work, in milliseconds. */
  readonly workedBeforeMs?: number
  /** The limits of all runs together; absent where there are none. */
  readonly budget?: Budget
  /** Absent where the agent works in its parent's directory. */
  readonly worktree?: Worktree
  /** Absent if the agent works in this OpenCode. With a place it also has a worktree, whose directory is there. */
  readonly place?: Place
  /** The ids of the tasks whose results the prompt still lacks: the run starts once all of them have completed. */
  readonly after?: readonly string[]
  /** The tasks whose results it has received. */
  readonly waitedFor?: readonly string[]
}

/** Where an agent works, other than in the task's own session. */
export type Place = MachinePlace | FleetPlace

/** On another machine, by its name in the options. */
export interface MachinePlace {
  readonly type: 'machine'
  readonly name: string
  /**
   * The session there, its directory, and the URL of its server; absent before it exists. The task's own session holds the
   * record alone.
   */
  readonly sessionID?: string
  readonly directory?: string
  readonly url?: string
}

/** At any worker of the fleet that has these labels. */
export interface FleetPlace {
  readonly type: 'fleet'
  readonly labels: readonly string[]
}

/** A git worktree in which an agent works. */
export interface Worktree {
  /** Its top directory. */
  readonly root: string
  /** The directory of the session: where the parent's directory is in its own checkout. */
  readonly directory: string
  readonly branch: string
  /** The top directory of the parent's checkout. */
  readonly checkout: string
  /** The commit from which the tree was made, and the state of the parent's checkout at the launch, without ignored files. */
  readonly base: {
    /** The commit from which the tree was made: a snapshot, or `head` if there were no changes or the tree starts without them. */
    readonly commit: string
    /** The commit that was checked out. */
    readonly head: string
    /** The number of files that were changed or deleted since `head`. */
    readonly changed: number
    /** The number of files that `head` does not have. */
    readonly created: number
  }
  /** The task from whose branch the tree starts, and the last commit of that; absent if the tree starts from `base`. */
  readonly from?: { readonly taskID: string; readonly commit: string }
  /** Notes about what the tree lacks, such as the files of submodules. */
  readonly notes?: readonly string[]
}

export type EarlierRun = Pick<TaskIdentity, 'run' | 'createdAt'> & Pick<AgentWork, 'promptIDs'> & End

const promptIDs = z.tuple([z.string()], z.string())

export const agentSchema = z.object({
  kind: z.literal('agent'),
  agent: z.string(),
  model: z.exactOptional(
    z.object({ providerID: z.string(), modelID: z.string(), variant: z.exactOptional(z.string()) }),
  ),
  maxSteps: z.exactOptional(z.number()),
  prompt: z.string(),
  promptIDs,
  askedBy: z.exactOptional(z.enum(['user', 'restart'])),
  earlier: z.exactOptional(
    z.array(
      z.intersection(
        z.object({ run: z.int().check(z.minimum(1)), promptIDs, createdAt: z.number() }),
        endSchema,
      ),
    ),
  ),
  usedBefore: z.exactOptional(usageSchema),
  workedBeforeMs: z.exactOptional(z.number()),
  budget: z.exactOptional(
    z.object({
      cost: z.exactOptional(z.number()),
      tokens: z.exactOptional(z.number()),
      toolCalls: z.exactOptional(z.number()),
      minutes: z.exactOptional(z.number()),
    }),
  ),
  worktree: z.exactOptional(
    z.object({
      root: z.string(),
      directory: z.string(),
      branch: z.string(),
      checkout: z.string(),
      base: z.object({ commit: z.string(), head: z.string(), changed: z.int(), created: z.int() }),
      from: z.exactOptional(z.object({ taskID: z.string(), commit: z.string() })),
      notes: z.exactOptional(z.array(z.string())),
    }),
  ),
  place: z.exactOptional(
    z.discriminatedUnion('type', [
      z.object({
        type: z.literal('machine'),
        name: z.string(),
        sessionID: z.exactOptional(z.string()),
        directory: z.exactOptional(z.string()),
        url: z.exactOptional(z.string()),
      }),
      z.object({ type: z.literal('fleet'), labels: z.array(z.string()) }),
    ]),
  ),
  after: z.exactOptional(z.array(z.string())),
  waitedFor: z.exactOptional(z.array(z.string())),
})
