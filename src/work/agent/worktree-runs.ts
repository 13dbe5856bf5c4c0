/**
 * Runs agents in worktrees of their own: makes the tree, moves the child session into it, follows its events, which OpenCode
 * sends to no hook of ours (contract 1.17), and has what the run leaves committed.
 */
import { errorText, type Opencode } from '../../host/opencode.ts'
import type { AgentTask, Changes, EndedTask, Outcome } from '../../task/task.ts'
import { ToolError } from '../../tool-error.ts'
import { failed, stopped, type StopCause } from '../outcome.ts'
import type { Worktree } from './agent-work.ts'

/** The task of a tree. */
export interface TreeTask {
  readonly id: string
  readonly run: number
  readonly description: string
}

/** What `src/worktree` does, which is loaded lazily. */
export interface TreeStore {
  plan(task: TreeTask, directory: string): Promise<Worktree>
  discard(worktree: Worktree, task: TreeTask): Promise<void>
  open(worktree: Worktree, task: TreeTask): Promise<void>
  close(worktree: Worktree, task: TreeTask): Promise<Changes>
}

export interface WorktreePlaces {
  /** The directory of the parents. */
  readonly directory: string
  /** Contains the worktrees. */
  readonly root: string
}

interface Ports {
  readonly opencode: Opencode
  readonly places: WorktreePlaces | undefined
  readonly load: (root: string) => Promise<TreeStore>
  /** Follows the events of a session in another directory until `signal`. Resolves when they come. */
  readonly follow: (sessionID: string, directory: string, signal: AbortSignal) => Promise<void>
}

export class WorktreeRuns {
  readonly #ports: Ports
  #store: Promise<TreeStore> | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Stores what a tree will begin with. Rejects with a `ToolError` where there can be none. */
  async plan(task: TreeTask): Promise<Worktree> {
    const { places } = this.#ports
    if (!places) throw new ToolError('worktree: agents have none here. Omit it.')
    return (await this.#trees()).plan(task, places.directory)
  }

  /** Forgets the plan of a task that was not launched. Never rejects. */
  async discard(worktree: Worktree, task: TreeTask): Promise<void> {
    await (await this.#trees()).discard(worktree, task)
  }

  /** Prepares the tree, calls `run` in it, and adds to its outcome what it has left. Never rejects if `run` does not. */
  async run(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    run: () => Promise<Outcome>,
  ): Promise<Outcome> {
    const exclude = this.#ports.opencode.include(worktree.directory)
    const over = new AbortController()
    try {
      const trees = await this.#trees()
      const problem = await this.#prepare(task, worktree, stop, over.signal).catch(errorText)
      const outcome = stop.aborted ? stopped(stop.reason as StopCause) : undefined
      const made =
        problem === undefined ? run : () => failed('error', `no worktree could be made: ${problem}`)
      return { ...(outcome ?? (await made())), changes: await trees.close(worktree, task) }
    } finally {
      over.abort()
      exclude()
    }
  }

  /** Commits what a run has left whose process is gone. Never rejects. */
  async recover<Task extends EndedTask & AgentTask>(task: Task): Promise<Task> {
    const { startedAt, worktree } = task
    if (!worktree || startedAt === undefined) return task
    return { ...task, changes: await (await this.#trees()).close(worktree, task) }
  }

  /** @param over aborted when the run is over */
  async #prepare(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    over: AbortSignal,
  ): Promise<undefined> {
    const { follow, opencode } = this.#ports
    const { sessionID } = task
    const { directory } = worktree
    await (await this.#trees()).open(worktree, task)
    // Only now, because OpenCode reads the configuration of a directory once.
    const session = await opencode.session(sessionID)
    if (session.directory !== directory) await opencode.moveSession(sessionID, directory)
    const following = follow(sessionID, directory, over)
    following.catch(() => {})
    await Promise.race([following, aborted(stop)])
  }

  #trees(): Promise<TreeStore> {
    const { load, places } = this.#ports
    this.#store ??= load(places?.root ?? '')
    return this.#store
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
