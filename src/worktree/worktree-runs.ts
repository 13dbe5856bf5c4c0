/**
 * Runs agents in worktrees of their own: makes the tree, moves the child session into it, follows its events, which OpenCode
 * sends to no hook of ours (contract 1.17), and has what the run leaves committed.
 */
import type { Options } from '../config.ts'
import { errorText, type Opencode } from '../host/opencode.ts'
import {
  isEnded,
  type AgentTask,
  type Applied,
  type EndedTask,
  type Outcome,
  type Task,
} from '../task/task.ts'
import { git, GitError } from './git.ts'
import { Worktrees, type TreeTask } from './worktrees.ts'
import type { Worktree } from '../work/agent/agent-work.ts'

export interface WorktreePlaces {
  /** The directory of the parents. */
  readonly directory: string
  /** Contains the worktrees. */
  readonly root: string
}

/** Follows the events of a session in another directory until `signal`. Resolves when they come. */
export type WorktreeFollower = (sessionID: string, directory: string, signal: AbortSignal) => Promise<void>

interface Ports {
  readonly opencode: Opencode
  readonly places: WorktreePlaces | undefined
  readonly follow: WorktreeFollower
  readonly store: { get(taskID: string): Task | undefined }
}

export class WorktreeRuns {
  readonly #ports: Ports
  readonly #trees: Worktrees

  constructor(ports: Ports, options: Options['worktree']) {
    this.#ports = ports
    const hasEnded = (taskID: string): boolean => {
      const task = ports.store.get(taskID)
      return task !== undefined && isEnded(task)
    }
    this.#trees = new Worktrees({ git, directory: ports.places?.root ?? '', hasEnded }, options)
  }

  /** Stores what a tree will begin with. Rejects with a `GitError` where there can be none. */
  async plan(task: TreeTask): Promise<Worktree> {
    const { places } = this.#ports
    if (!places) throw new GitError('refused', 'agents have none here. Omit worktree')
    return this.#trees.plan(task, places.directory)
  }

  /** Forgets the plan of a task that was not launched. Never rejects. */
  async discard(worktree: Worktree, task: TreeTask): Promise<void> {
    await this.#trees.discard(worktree, task)
  }

  /**
   * Writes the changes of an ended task into the checkout of its parent. Rejects with a `GitError`.
   *
   * @param check whether to find out only what would happen
   */
  async apply(task: Task, check: boolean): Promise<Applied> {
    const { worktree, changes } = { worktree: undefined, changes: undefined, ...task }
    if (!worktree || changes?.type !== 'committed') {
      const why =
        worktree && !isEnded(task) ? 'has not ended. Wait for its notice' : 'has no changes to apply'
      throw new GitError('refused', why)
    }
    return this.#trees.apply(worktree, task, changes.commit, check)
  }

  /**
   * Prepares the tree, calls `run` in it, and adds to its outcome what it has left. Never rejects if `run` does not.
   *
   * @param run is given the problem of a tree that could not be prepared
   */
  async run(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    run: (problem: string | undefined) => Promise<Outcome>,
  ): Promise<Outcome> {
    const exclude = this.#ports.opencode.include(worktree.directory)
    const over = new AbortController()
    try {
      const problem = await this.#prepare(task, worktree, stop, over.signal).catch(errorText)
      const outcome = await run(problem)
      return { ...outcome, changes: await this.#trees.close(worktree, task) }
    } finally {
      over.abort()
      exclude()
    }
  }

  /** Commits what a run has left whose process is gone. Never rejects. */
  async recover<Ended extends EndedTask & AgentTask>(task: Ended): Promise<Ended> {
    const { startedAt, worktree } = task
    if (!worktree || startedAt === undefined) return task
    return { ...task, changes: await this.#trees.close(worktree, task) }
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
    await this.#trees.open(worktree, task)
    // Only now, because OpenCode reads the configuration of a directory once.
    const session = await opencode.session(sessionID)
    if (session.directory !== directory) await opencode.moveSession(sessionID, directory)
    const following = follow(sessionID, directory, over)
    following.catch(() => {})
    await Promise.race([following, aborted(stop)])
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
