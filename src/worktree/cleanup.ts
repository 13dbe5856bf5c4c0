/**
 * Removes the worktrees of ended tasks that the user no longer needs. No commit is lost with a branch, because our refs keep it
 * (`refs.ts`). `removeDirectory` refuses to delete files that no commit has.
 *
 *   applied or merged, without other changes → remove directory and branch
 *   neither, and unchanged for `keepDays`    → commit the files of the directory, and remove the directory
 *   without a branch for 30 days             → delete the refs
 *
 * Keeps a worktree with ignored files, unless `copyIncluded`, the setup or OpenCode made them. Keeps a locked worktree, unless
 * the lock is ours and its process is gone. Such a worktree counts as changed, because its task may never be recovered.
 */
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { checkoutOf, commitTree, OWN_IDENTITY, treeOf, type Checkout } from './checkout.ts'
import { commitFiles, isAncestor } from './commit.ts'
import type { Git } from './git.ts'
import { isLeftLock, listTrees, type LockOwners } from './lock.ts'
import { findRefs, leftRef, refOf, type FoundRefs } from './refs.ts'
import { removeDirectory } from './remove.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** How many days after its branch the refs of a task are deleted. */
const REF_DAYS = 30

export interface CleanupPorts {
  readonly git: Git
  readonly owners: LockOwners
  readonly keepDays: number
  /** In milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Whether an unfinished task of this process uses the tree of a task. */
  readonly isUsed: (taskID: string, root: string) => boolean
}

interface TreeState {
  /** Whether it has files that are neither committed nor ignored. */
  readonly isChanged: boolean
  readonly head: string
  /** In milliseconds since the Unix epoch. */
  readonly changedAt: number
}

export class Cleanup {
  readonly #ports: CleanupPorts
  readonly #git: Git

  constructor(ports: CleanupPorts) {
    this.#ports = ports
    this.#git = ports.git
  }

  /** Returns the tasks that have refs or a branch. */
  find({ root }: Checkout): Promise<FoundRefs[]> {
    return findRefs(this.#git, root)
  }

  /** Returns the branch's commit if the checkout already has its work, applied or merged. Only reads, but can take long. */
  async workElsewhere({ refs, branch }: FoundRefs, checkout: Checkout): Promise<string | undefined> {
    if (!branch) return undefined
    const isElsewhere =
      refs.get('applied')?.commit === branch.commit || (await this.#isMerged(branch.commit, refs, checkout))
    return isElsewhere ? branch.commit : undefined
  }

  /**
   * Cleans up the tree, the branch and the refs of a task. Resolves with the reason if a tree that is due cannot be removed.
   * Rejects with a `GitError`.
   *
   * @param root the directory of its tree
   * @param elsewhere the result of `workElsewhere`
   */
  async clean(
    taskID: string,
    root: string,
    checkout: Checkout,
    elsewhere: string | undefined,
  ): Promise<string | undefined> {
    if (this.#ports.isUsed(taskID, root)) return undefined
    // Read the refs again, because a launch or an end may have changed them since `find`.
    const found = (await findRefs(this.#git, checkout.root)).find(({ id }) => id === taskID)
    if (!found) return undefined
    const kept = await this.#cleanTree(found, root, checkout, elsewhere)
    if (kept?.why === undefined) await this.#expireRefs(found, checkout, kept !== undefined)
    return kept?.why
  }

  /** Removes the tree and the branch if they are due. Resolves with `undefined` if the task has no branch any more. */
  async #cleanTree(
    { id, refs, branch }: FoundRefs,
    root: string,
    checkout: Checkout,
    elsewhere: string | undefined,
  ): Promise<{ readonly why?: string } | undefined> {
    if (!branch) return undefined
    const trees = await listTrees(this.#git, checkout.root)
    const tree = trees.find((each) => each.root === root)
    const isLeft = tree?.lock !== undefined && isLeftLock(tree.lock, this.#ports.owners)
    if (tree?.lock !== undefined && !isLeft) return {}
    const state = tree && existsSync(root) ? await this.#stateOf(root) : 'removed'
    // The process ended while git was filling the tree. The next run fills it again.
    if (state === 'unfilled') return {}
    const isClean = state === 'removed' || (!state.isChanged && state.head === branch.commit)
    const isDone = elsewhere === branch.commit && !isLeft && isClean
    if (!isDone) {
      if (state === 'removed' || !this.#isOld(Math.max(state.changedAt, branch.at * 1000))) return {}
      const worktree = { root, checkout: checkout.root, branch: branch.name }
      const message = `The files in the directory of ${id} before a clean-up`
      await commitFiles(this.#git, worktree, message, (commit) => leftRef(id, commit))
    }
    if (tree) {
      if (isLeft) await this.#git(checkout.root, ['worktree', 'unlock', root], { answers: [128] })
      const why = await removeDirectory(this.#git, { root, checkout: checkout.root })
      if (why !== undefined) return { why: `${root} is kept: ${why}` }
    }
    const isCheckedOut = trees.some((each) => each.branch === branch.name && each !== tree)
    if (!isDone || isCheckedOut) return {}
    const isKept = [...refs.values()].some(({ commit }) => commit === branch.commit)
    if (!isKept) await this.#git(checkout.root, ['update-ref', leftRef(id, branch.commit), branch.commit])
    await this.#git(checkout.root, ['update-ref', '-d', `refs/heads/${branch.name}`, branch.commit])
    return undefined
  }

  #isOld(at: number): boolean {
    return this.#ports.now() - at >= this.#ports.keepDays * DAY_MS
  }

  /** Whether HEAD contains the commits of a branch, or commits with the same patches. */
  async #isMerged(tip: string, refs: FoundRefs['refs'], { root, head }: Checkout): Promise<boolean> {
    if (await isAncestor(this.#git, root, tip, head)) return true
    const base = refs.get('base')?.commit
    if (base === undefined) return false
    // `git cherry` ignores merge commits, and so would miss changes that were made in one.
    const merges = await this.#git(root, ['rev-list', '--merges', '--count', `${base}..${tip}`])
    if (merges.stdout.trim() !== '0') return false
    const { stdout } = await this.#git(root, ['cherry', head, tip, base])
    return !stdout.includes('+')
  }

  async #stateOf(root: string): Promise<TreeState | 'unfilled'> {
    const { index, head, tree: committed } = await checkoutOf(this.#git, root)
    // git writes the index last when it fills a tree, and at each commit, switch and reset.
    const written = await stat(index).catch(() => undefined)
    if (!written) return 'unfilled'
    const tree = await treeOf(this.#git, root, index)
    return { isChanged: tree !== committed, head, changedAt: written.mtimeMs }
  }

  /** @param hasBranch whether the task still has a branch after this clean-up */
  async #expireRefs({ id, refs, branch }: FoundRefs, { root }: Checkout, hasBranch: boolean): Promise<void> {
    const now = this.#ports.now()
    const gone = refs.get('gone')
    // The task had a branch until now, so a `gone` ref is from an earlier branch.
    const isPast = branch !== undefined
    if (gone && isPast) await this.#git(root, ['update-ref', '-d', refOf(id, 'gone'), gone.commit])
    if (hasBranch) return
    if (!gone || isPast) {
      await this.#markGone(id, refs, root)
      return
    }
    if (now - gone.at * 1000 < REF_DAYS * DAY_MS) return
    // One transaction: deletes all refs, or none if any was moved meanwhile.
    const lines = [...refs].map(([own, { commit }]) => `delete ${refOf(id, own)} ${commit}\n`)
    await this.#git(root, ['update-ref', '--stdin'], { input: lines.join('') })
  }

  async #markGone(id: string, refs: FoundRefs['refs'], root: string): Promise<void> {
    const [first] = refs.values()
    if (!first) return
    const date = `@${Math.floor(this.#ports.now() / 1000)} +0000`
    const identity = { ...OWN_IDENTITY, GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date }
    const message = `The branch of ${id} is gone`
    const mark = await commitTree(this.#git, root, `${first.commit}^{tree}`, [], message, identity)
    await this.#git(root, ['update-ref', refOf(id, 'gone'), mark])
  }
}
