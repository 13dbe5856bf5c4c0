/** Brings the changes of an agent back from its machine: checkpoints while it works, and the end as a commit on its branch. */
import type { Log } from '../host/log.ts'
import { errorText } from '../host/opencode.ts'
import { machineOf } from '../task/place.ts'
import type { TaskStore } from '../task/store.ts'
import type { Changes } from '../task/state.ts'
import type { AgentTask } from '../task/task.ts'
import type { MachinePlace, Worktree } from '../work/agent/agent-work.ts'
import { commitOf } from '../worktree/commit.ts'
import { git } from '../worktree/git.ts'
import { refOf } from '../worktree/refs.ts'
import type { WorktreeRuns } from '../worktree/worktree-runs.ts'
import { isUnanswered } from './machine-calls.ts'
import type { MachineLink } from './machine-link.ts'
import { dropTree, fetchTree } from './remote-tree.ts'

interface Ports {
  readonly log: Log
  readonly store: TaskStore
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** A run on a machine. */
export interface PlacedRun {
  readonly task: AgentTask
  readonly place: MachinePlace
  readonly worktree: Worktree
  readonly link: MachineLink
  readonly stop: AbortSignal
}

export class ReturnedChanges {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Fetches the files of a tree while its agent works. Never rejects: the next checkpoint has them too. */
  async checkpoint(task: AgentTask, worktree: Worktree, link: MachineLink): Promise<void> {
    if (link.lost) return
    await fetchTree(git, link, task, worktree).catch((error: unknown) => {
      this.#ports.log.warn(`${task.id}: no checkpoint was fetched: ${errorText(error)}`)
    })
  }

  /**
   * Brings the end of a run back as a commit on its branch, and removes the tree there. Retries until the machine answers or
   * the run is stopped. Resolves with `undefined` if there never was a tree.
   */
  async take(run: PlacedRun): Promise<Changes | undefined> {
    const { task, worktree, link, stop, place } = run
    for (;;) {
      try {
        const end = (await fetchTree(git, link, task, worktree)) ?? (await this.#lastCheckpoint(run))
        if (end === undefined) return undefined
        const changes = await (
          await this.#ports.worktrees()
        ).adopt(this.#ports.store.now(task), worktree, end)
        if (changes.type !== 'failed') await this.#leave(run)
        return changes
      } catch (error) {
        const isOver = !isUnanswered(error) || stop.aborted || this.#ports.disposal.aborted
        if (isOver) return this.#unfetched(run, error)
        this.#ports.log.warn(`${task.id}: its changes on ${place.name} wait: ${errorText(error)}`)
        await link.answers(stop)
      }
    }
  }

  async #lastCheckpoint({ task, worktree }: PlacedRun): Promise<string | undefined> {
    return commitOf(git, worktree.checkout, refOf(task.id, 'out'))
  }

  /** Keeps the tree there, and makes its last checkpoint the branch. */
  async #unfetched(run: PlacedRun, error: unknown): Promise<Changes> {
    const { task, worktree } = run
    const end = await this.#lastCheckpoint(run)
    const changes = end && (await (await this.#ports.worktrees()).adopt(task, worktree, end))
    const { directory, name } = machineOf(this.#ports.store.now(task)) ?? run.place
    if (changes && changes.type === 'committed')
      return { ...changes, left: `later files in ${directory} on ${name}` }
    return { type: 'failed', message: errorText(error) }
  }

  /** Moves the session out of the tree, because OpenCode cannot read one in a missing directory (contract 17.3), and drops it. */
  async #leave({ task, worktree, link }: PlacedRun): Promise<void> {
    const sessionID = machineOf(this.#ports.store.now(task))?.sessionID
    try {
      if (sessionID !== undefined) await link.opencode.moveSession(sessionID, link.options.directory)
      await dropTree(link, task.id, worktree.branch)
    } catch (error) {
      this.#ports.log.warn(`${task.id}: its tree on ${link.name} could not be removed: ${errorText(error)}`)
    }
  }
}
