/**
 * Runs agents in worktrees of their own: makes the tree, moves the child session into it, follows the session's events, because
 * OpenCode does not send those to our hooks (contract 1.17), and commits the changes at the end of the run.
 */
import { existsSync } from 'node:fs'
import type { Options } from '../config.ts'
import type { Log } from '../host/log.ts'
import { errorText, type Opencode } from '../host/opencode.ts'
import type { Applied, Changes, Failure, Outcome } from '../task/state.ts'
import { isEnded, type AgentTask, type EndedTask, type Task } from '../task/task.ts'
import { PartlyApplied } from './apply.ts'
import { git, GitError } from './git.ts'
import type { LockOwners } from './lock.ts'
import type { TreePlan } from './plan.ts'
import { Setup, type SetupPorts } from './setup.ts'
import { unlessAborted } from './unless-aborted.ts'
import { Worktrees, type ChangedTree, type TreeTask } from './worktrees.ts'
import type { Worktree } from '../work/agent/agent-work.ts'

/** The maximum number of other trees that an end is compared with, and of those that its notice names. */
const COMPARED = 20
const RIVALS = 3

export interface WorktreePlaces {
  /** The directory of the parents. */
  readonly directory: string
  /** Contains the worktrees. */
  readonly root: string
}

/** Follows the events of a session in another directory until `signal`. Resolves when they arrive. */
export type WorktreeFollower = (sessionID: string, directory: string, signal: AbortSignal) => Promise<void>

interface Ports extends SetupPorts {
  readonly opencode: Opencode
  readonly places: WorktreePlaces | undefined
  readonly follow: WorktreeFollower
  readonly store: { get(taskID: string): Task | undefined; all(): Iterable<Task> }
  readonly owners: LockOwners
  readonly log: Pick<Log, 'warn'>
}

export class WorktreeRuns {
  readonly #ports: Ports
  readonly #trees: Worktrees
  readonly #setup: Setup
  /** The newest clean-up; `undefined` before the first one. */
  #cleaning: Promise<void> | undefined

  constructor(ports: Ports, options: Pick<Options, 'worktree' | 'commands'>) {
    this.#ports = ports
    const { clock, owners, places, store } = ports
    const hasEnded = (taskID: string): boolean => {
      const task = store.get(taskID)
      return task !== undefined && isEnded(task)
    }
    const isUsed = (root: string): boolean =>
      [...store.all()].some((task) => !isEnded(task) && `${placeOf(task)}/`.startsWith(`${root}/`))
    this.#trees = new Worktrees(
      { git, directory: places?.root ?? '', hasEnded, isUsed, owners, clock },
      options.worktree,
    )
    this.#setup = new Setup(git, ports, options)
  }

  /** Stores the state from which a tree will be made. Rejects with a `GitError` if no tree can be made. */
  async plan(task: TreeTask, how?: TreePlan): Promise<Worktree> {
    const { places } = this.#ports
    if (!places) throw new GitError('refused', 'worktrees are not available here. Omit worktree')
    try {
      return await this.#trees.plan(task, places.directory, how)
    } catch (error) {
      // The limit may be reached by worktrees that a clean-up can remove.
      this.#cleanOnce()
      throw error
    }
  }

  /** Resolves when the running clean-up has finished; at once if none runs. */
  get cleaned(): Promise<void> {
    return this.#cleaning ?? Promise.resolve()
  }

  #cleanOnce(): void {
    if (!this.#cleaning) this.#clean()
  }

  /** Cleans up in the background. A start waits at most for the clean-up of one task. */
  #clean(): void {
    const before = this.cleaned
    this.#cleaning = this.#cleanAfter(before)
  }

  /** Never rejects. */
  async #cleanAfter(before: Promise<void>): Promise<void> {
    const { disposal, log, places, store } = this.#ports
    await before
    if (!places) return
    const there = [...store.all()].filter((task) => isEnded(task) && existsSync(placeOf(task)))
    try {
      for (const why of await this.#trees.clean(places.directory, disposal)) log.warn(`worktree: ${why}`)
    } catch (error) {
      log.warn(`worktrees could not be cleaned up: ${errorText(error)}`)
    }
    await Promise.all(there.map((task) => this.moveFromMissing(task)))
  }

  /** Moves the session of a task back to the parent's directory if its tree no longer exists. Never rejects. */
  async moveFromMissing(task: Task): Promise<void> {
    if ('worktree' in task && !existsSync(placeOf(task))) await this.#moveBack(task)
  }

  /** Forgets the plan of a task that was not launched. Never rejects. */
  async discard(worktree: Worktree, task: TreeTask): Promise<void> {
    await this.#trees.discard(worktree, task)
  }

  /** Whether the next run in a tree begins with the command line `worktree.setup`. */
  isSetupDue(worktree: Worktree): Promise<boolean> {
    return this.#setup.isDue(worktree)
  }

  /**
   * Writes the changes of an ended task into the checkout of its parent. Rejects with an error that says whether files were
   * written.
   *
   * @param check whether to report the result without writing
   */
  async apply(task: Task, check: boolean): Promise<Applied> {
    try {
      const applied = await this.#apply(task, check)
      if (!check) this.#clean()
      return applied
    } catch (error) {
      if (error instanceof PartlyApplied) throw error
      throw new GitError('refused', `${errorText(error)}. Nothing was written.`)
    }
  }

  async #apply(task: Task, check: boolean): Promise<Applied> {
    const { worktree, changes } = { worktree: undefined, changes: undefined, ...task }
    if (worktree && changes?.type === 'committed')
      return this.#trees.apply(worktree, task, changes.commit, check)
    const why =
      worktree && !isEnded(task) ? 'it has not ended. Wait for its notice' : 'it has no changes to apply'
    throw new GitError('refused', why)
  }

  /** Removes the tree and the branch of an ended task, and returns the last commit of the branch. Rejects with a `GitError`. */
  async remove(task: Task): Promise<{ readonly branch: string; readonly commit: string }> {
    const { worktree } = { worktree: undefined, ...task }
    if (!worktree) throw new GitError('refused', 'It has no worktree')
    if (!isEnded(task)) throw new GitError('refused', 'It has not ended. Cancel it first')
    const commit = await this.#trees.remove(worktree, task)
    await this.#moveBack(task)
    return { branch: worktree.branch, commit }
  }

  /**
   * Prepares the tree, calls `run`, commits the changes, and adds them to the outcome. Never rejects if `run` does not.
   *
   * @param run receives the failure if the tree could not be prepared
   */
  async run(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    run: (failure: Failure | undefined) => Promise<Outcome>,
  ): Promise<Outcome> {
    const over = new AbortController()
    let exclude = (): void => {}
    try {
      const failure = await this.#prepare(task, worktree, stop, over.signal).catch(
        (error: unknown): Failure => ({
          reason: 'error',
          message: `no worktree could be made: ${errorText(error)}`,
        }),
      )
      // Include the directory only now: a status call in a directory that OpenCode still prepares would delay all others.
      exclude = this.#ports.opencode.include(worktree.directory)
      this.#cleanOnce()
      const outcome = await run(failure)
      return { ...outcome, changes: await this.#close(task, worktree) }
    } finally {
      over.abort()
      exclude()
    }
  }

  /** Takes the end of a run that worked in another clone, and whose commits this repository has. Never rejects. */
  async adopt(task: AgentTask, worktree: Worktree, end: string): Promise<Changes> {
    return this.#withRivals(task, worktree, await this.#trees.adopt(worktree, task, end))
  }

  /** Commits the changes of a run whose process is gone. Never rejects. */
  async recover<Ended extends EndedTask & AgentTask>(task: Ended): Promise<Ended> {
    const { startedAt, worktree } = task
    // Even a run that never received its prompt may have a tree, which must be closed too.
    if (!worktree || (startedAt === undefined && !existsSync(worktree.root))) return task
    await this.#setup.killLeft(task)
    return { ...task, changes: await this.#close(task, worktree) }
  }

  async #close(task: AgentTask, worktree: Worktree): Promise<Changes> {
    const changes = await this.#trees.close(worktree, task)
    if (changes.type === 'none') await this.#moveBack(task)
    return this.#withRivals(task, worktree, changes)
  }

  /** Adds the ids of the tasks that have changed the same files. */
  async #withRivals(task: AgentTask, worktree: Worktree, changes: Changes): Promise<Changes> {
    if (changes.type !== 'committed') return changes
    const others = this.#changedBeside(task, worktree)
    const rivals = await this.#trees.rivalsOf(worktree, changes.commit, others)
    return rivals.length === 0 ? changes : { ...changes, rivals: rivals.slice(0, RIVALS) }
  }

  /** Returns the newest trees of the session's other tasks that ended with changes, newest first. */
  #changedBeside({ id, parentID }: AgentTask, { checkout }: Worktree): ChangedTree[] {
    const trees: ChangedTree[] = []
    for (const other of this.#ports.store.all()) {
      const { worktree, changes } = { worktree: undefined, changes: undefined, ...other }
      const isBeside = other.parentID === parentID && other.id !== id && worktree?.checkout === checkout
      if (isBeside && worktree && changes?.type === 'committed')
        trees.push({ ...worktree, id: other.id, end: changes.commit })
    }
    return trees.toReversed().slice(0, COMPARED)
  }

  /** Moves a session to the parent's directory: OpenCode cannot read a session in a missing directory (contract 17.3). */
  async #moveBack({ sessionID }: Pick<Task, 'sessionID'>): Promise<void> {
    const { opencode, places } = this.#ports
    // The session may have been deleted.
    if (places) await opencode.moveSession(sessionID, places.directory).catch(() => {})
  }

  /**
   * Makes and sets up the tree, and moves the session into it. Resolves with the failure of the setup.
   *
   * @param over aborted when the run is over
   */
  async #prepare(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    over: AbortSignal,
  ): Promise<Failure | undefined> {
    const { follow, opencode } = this.#ports
    const { sessionID } = task
    const { directory } = worktree
    const wasMissing = !existsSync(directory)
    await this.#trees.open(worktree, task)
    // A resumed run needs no setup: its agent already works in the tree.
    const failure = task.status === 'starting' ? await this.#setup.run(task, worktree, stop) : undefined
    if (failure) return failure
    // Move the session after the setup, because OpenCode reads the configuration of a directory only once.
    const session = await opencode.session(sessionID)
    if (session.directory !== directory) await opencode.moveSession(sessionID, directory)
    // An earlier call for the session may have loaded the instance while the tree did not exist: load it anew.
    else if (wasMissing) await opencode.endInstance(directory)
    await unlessAborted(follow(sessionID, directory, over), stop)
    return undefined
  }
}

/** Returns the directory of a command, or the worktree of an agent; '' for an agent without one. */
function placeOf(task: Task): string {
  return task.kind === 'command' ? task.cwd : (task.worktree?.root ?? '')
}
