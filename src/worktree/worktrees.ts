/**
 * Makes, commits, applies and removes the worktrees of tasks. Each starts from the state of its parent's checkout at the launch,
 * and ends as a commit on a branch of its own, so that no work exists only as uncommitted files.
 *
 *   plan ──→ open ──→ close ──→ clean
 *             ↑─────────┘  the next run of the task
 *
 * `plan` stores the state as a ref. `open` makes the branch and fills the directory, or continues from an earlier call, even a
 * killed one. `close` commits, and removes a tree without changes. `clean` removes the others once their work was applied or
 * merged. Each can be repeated.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import { errorText } from '../host/opencode.ts'
import type { Applied, Changes } from '../task/state.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import { apply } from './apply.ts'
import { checkoutOf } from './checkout.ts'
import { Cleanup } from './cleanup.ts'
import { advance, commitFiles, commitMessage, commitOf, isAncestor, otherTreeOf } from './commit.ts'
import { GitError, type Git } from './git.ts'
import { freeBytes, PlannedTrees, refuseFullDisk } from './limits.ts'
import { lockReason, type LockOwners } from './lock.ts'
import { deleteBranch, makeTree, startOf } from './make.ts'
import { conflictsOf, rivalsOf, statOf } from './merge.ts'
import { homeOf, planTree, type TreePlan } from './plan.ts'
import { endRef, leftRef, refOf } from './refs.ts'
import { besideCommits, removeDirectory } from './remove.ts'
import { fillSubmodules } from './submodules.ts'
import { Turns } from './turns.ts'

/** The task of a tree. */
export interface TreeTask {
  readonly id: string
  readonly run: number
  readonly description: string
}

/** The tree of a task that ended with changes. */
export interface ChangedTree extends Worktree {
  readonly id: string
  readonly end: string
}

interface Ports {
  readonly git: Git
  /** Contains a directory for each repository. */
  readonly directory: string
  /** Whether a task of this process has ended; false for an unknown one. */
  readonly hasEnded: (taskID: string) => boolean
  /** Whether an unfinished task of this process works in a directory. */
  readonly isUsed: (root: string) => boolean
  readonly owners: LockOwners
  readonly clock: Pick<Clock, 'now'>
  readonly freeBytes?: typeof freeBytes
}

export class Worktrees {
  readonly #git: Git
  readonly #ports: Ports
  readonly #options: Options['worktree']
  readonly #planned: PlannedTrees
  readonly #cleanup: Cleanup
  /** By the path of a checkout: concurrent calls fail at git's own locks. */
  readonly #turns = new Turns()

  constructor(ports: Ports, options: Options['worktree']) {
    this.#git = ports.git
    this.#ports = ports
    this.#options = options
    this.#planned = new PlannedTrees(ports.hasEnded)
    this.#cleanup = new Cleanup({
      git: ports.git,
      owners: ports.owners,
      keepDays: options.keepDays,
      now: () => ports.clock.now(),
      isUsed: (taskID, root) => this.#planned.has(taskID) || ports.isUsed(root),
    })
  }

  /**
   * Stores the state of the checkout at `directory` for a tree that `open` makes later. Rejects with a `GitError` if git fails,
   * the directory cannot have worktrees, the limit is reached, or the disk is nearly full.
   */
  async plan(task: TreeTask, directory: string, how: TreePlan = {}): Promise<Worktree> {
    const { isElsewhere } = how
    const checkout = await checkoutOf(this.#git, directory)
    const home = await homeOf(this.#git, checkout, this.#ports.directory)
    if (!isElsewhere) {
      await refuseFullDisk(home, this.#ports.freeBytes ?? freeBytes)
      await this.#planned.add(task.id, home, this.#options.max)
    }
    try {
      return await planTree(this.#git, checkout, home, { ...how, ...task }, this.#options)
    } catch (error) {
      this.#planned.delete(task.id)
      throw error
    }
  }

  /** Discards the plan of a task that was not created. Never rejects. */
  async discard({ checkout }: Worktree, { id }: Pick<TreeTask, 'id'>): Promise<void> {
    this.#planned.delete(id)
    await this.#git(checkout, ['update-ref', '-d', refOf(id, 'base')]).catch(() => {})
  }

  /** Makes the tree of a run if it does not exist, and locks it. Rejects with a `GitError`; leaves no new branch without a tree. */
  async open(worktree: Worktree, { id }: Pick<TreeTask, 'id'>): Promise<void> {
    const { checkout, root, directory } = worktree
    const reason = lockReason(id, this.#ports.owners)
    await this.#turns.take(checkout, async () => {
      await makeTree(this.#git, worktree, id, reason)
      if (this.#options.submodules) await fillSubmodules(this.#git, root, checkout)
      await mkdir(directory, { recursive: true })
    })
  }

  /** Commits the changes of a run. Never rejects: if the commit fails, the tree is kept. */
  async close(worktree: Worktree, run: TreeTask): Promise<Changes> {
    const { checkout, root } = worktree
    try {
      return await this.#turns.take(checkout, async () => {
        const end = await this.#commit(worktree, run)
        await this.#git(checkout, ['worktree', 'unlock', root], { answers: [128] })
        return this.#changesOf(worktree, run, end)
      })
    } catch (error) {
      return { type: 'failed', message: errorText(error) }
    }
  }

  /**
   * Advances the branch of a task to the end of a run that worked in another clone, whose commits this repository has. The task
   * is then as if it had worked here, without a directory. Never rejects.
   */
  async adopt(worktree: Worktree, run: TreeTask, end: string): Promise<Changes> {
    const ref = endRef(run.id, run.run)
    try {
      return await this.#turns.take(worktree.checkout, async () => {
        await this.#git(worktree.checkout, ['update-ref', ref, end])
        await advance(this.#git, worktree, end, ref)
        return this.#changesOf(worktree, run, end)
      })
    } catch (error) {
      return { type: 'failed', message: errorText(error) }
    }
  }

  async #changesOf(worktree: Worktree, run: TreeTask, end: string): Promise<Changes> {
    const { checkout, root } = worktree
    const stat = await statOf(this.#git, checkout, worktree.base.commit, end)
    // A branch that was reset to before its base has no commits of its own, but still other files.
    if (stat.commits + stat.files === 0 || end === worktree.from?.commit)
      return this.#removeUnchanged(worktree, run)
    const conflicts = await conflictsOf(this.#git, worktree, run.id, end)
    const left = existsSync(root) ? await besideCommits(this.#git, worktree) : undefined
    return {
      type: 'committed',
      commit: end,
      ...stat,
      ...(conflicts && { conflicts }),
      ...(left !== undefined && { left }),
    }
  }

  /**
   * Returns the ids of the `others` that change a file which this end changes too, whose branches still exist, and whose ends it
   * does not contain. Never rejects.
   */
  async rivalsOf(worktree: Worktree, end: string, others: readonly ChangedTree[]): Promise<string[]> {
    const { checkout } = worktree
    try {
      const branches = await Promise.all(
        others.map(({ branch }) => commitOf(this.#git, checkout, `refs/heads/${branch}`)),
      )
      const living = others.filter((_, index) => branches[index] !== undefined)
      const found = await rivalsOf(this.#git, checkout, { ...worktree, end, id: '' }, living)
      if (!worktree.from) return found.map(({ id }) => id)
      // The branch of a task that started from another's contains the changes of that.
      const isIn = await Promise.all(found.map((each) => isAncestor(this.#git, checkout, each.end, end)))
      return found.filter((_, index) => !isIn[index]).map(({ id }) => id)
    } catch {
      // A failure only means that the notice names no rivals.
      return []
    }
  }

  /** Writes the changes of an end into the checkout; see `apply.ts`. Rejects with a `GitError` or a `PartlyApplied`. */
  async apply(
    worktree: Worktree,
    { id }: Pick<TreeTask, 'id'>,
    end: string,
    check: boolean,
  ): Promise<Applied> {
    return this.#turns.take(worktree.checkout, async () => {
      const applied = await apply(this.#git, worktree, id, end, check)
      const hasAll = (applied.type === 'applied' || applied.type === 'nothing') && !applied.submodules
      if (hasAll && !check) await this.#git(worktree.checkout, ['update-ref', refOf(id, 'applied'), end])
      return applied
    })
  }

  /**
   * Cleans up the trees, branches and refs of ended tasks in the repository of `directory`. Other work on the repository can run
   * between two tasks. Resolves with the reason for each tree that was due and could not be removed. Rejects with a `GitError`.
   */
  async clean(directory: string, stop: AbortSignal): Promise<string[]> {
    const checkout = await checkoutOf(this.#git, directory)
    const home = await homeOf(this.#git, checkout, this.#ports.directory)
    const kept: string[] = []
    for (const found of await this.#cleanup.find(checkout)) {
      if (stop.aborted) break
      const { id } = found
      const elsewhere = await this.#cleanup.workElsewhere(found, checkout)
      const why = await this.#turns
        .take(checkout.root, () => this.#cleanup.clean(id, join(home, id), checkout, elsewhere))
        .catch((error: unknown) => `${id}: ${errorText(error)}`)
      if (why !== undefined) kept.push(why)
    }
    return kept
  }

  /**
   * Removes the tree and the branch of a task at the user's request, and returns their last commit: refs keep all commits.
   * Rejects with a `GitError`, also where ignored files would be lost. Can be repeated.
   */
  async remove(worktree: Worktree, run: TreeTask): Promise<string> {
    const { checkout, root, branch, base } = worktree
    const head = `refs/heads/${branch}`
    const end = endRef(run.id, run.run)
    return this.#turns.take(checkout, async () => {
      const tip = await commitOf(this.#git, checkout, head)
      // An earlier call removed both, and was killed before its result was recorded.
      if (tip === undefined && !existsSync(root))
        return (await commitOf(this.#git, checkout, end)) ?? base.commit
      // Keep both tips by refs, because a person may have moved the branch since the run ended.
      for (const name of [head, end]) {
        const kept = await commitOf(this.#git, checkout, name)
        if (kept !== undefined) await this.#git(checkout, ['update-ref', leftRef(run.id, kept), kept])
      }
      const commit = await this.#commit(worktree, run)
      await this.#git(checkout, ['worktree', 'unlock', root], { answers: [128] })
      const why = await removeDirectory(this.#git, worktree)
      if (why !== undefined) throw new GitError('refused', `${root} is kept: ${why}`)
      // `branch -D` and not `update-ref`: it refuses to delete a branch that is checked out elsewhere.
      if ((await commitOf(this.#git, checkout, head)) !== undefined)
        await this.#git(checkout, ['branch', '--quiet', '-D', branch])
      return commit
    })
  }

  /** Commits all files of the tree, except ignored ones, and returns the commit. Without a directory, returns the last end. */
  async #commit(worktree: Worktree, task: TreeTask): Promise<string> {
    const { id, run } = task
    const { root, checkout, branch } = worktree
    if (!existsSync(root)) {
      // A clean-up may have removed the directory, and even the branch.
      const names = [`refs/heads/${branch}`, endRef(id, run)]
      const [ofBranch, ofRun] = await Promise.all(names.map((name) => commitOf(this.#git, checkout, name)))
      return ofBranch ?? ofRun ?? startOf(worktree)
    }
    return commitFiles(this.#git, worktree, commitMessage(task), () => endRef(id, run))
  }

  async #removeUnchanged(worktree: Worktree, { id, run }: TreeTask): Promise<Changes> {
    const { checkout, root } = worktree
    const why = existsSync(root) ? await removeDirectory(this.#git, worktree) : undefined
    if (why !== undefined) return { type: 'kept', why }
    const isElsewhere = (await otherTreeOf(this.#git, worktree)) !== undefined
    if (!isElsewhere) await deleteBranch(this.#git, worktree, startOf(worktree))
    await this.#git(checkout, ['update-ref', '-d', endRef(id, run)])
    return { type: 'none' }
  }
}
