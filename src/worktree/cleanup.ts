/**
 * Removes the worktrees of ended tasks whose work is elsewhere. Nothing is removed by force, and no commit goes with a branch:
 * refs of ours keep it (`refs.ts`).
 *
 *   applied or merged, without other changes → directory and branch go
 *   neither, for `keepDays`                  → what stands in the directory is committed, and the directory goes
 *   no branch, for 30 days                   → its refs go
 *
 * A tree with ignored files that neither `copyIncluded` nor the setup has made is kept, and so are trees that are locked, but
 * for those whose process is gone: their task may never be recovered, and they count as changed.
 */
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { checkoutOf, commitTree, OWN_IDENTITY, treeOf, type Checkout } from './checkout.ts'
import { commitFiles } from './commit.ts'
import type { Git } from './git.ts'
import { isLeftLock, listTrees, type LockOwners } from './lock.ts'
import { findRefs, leftRef, refOf, type FoundRefs } from './refs.ts'
import { removeDirectory } from './remove.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** How long the refs of a task stay after its branch. */
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

  /** Returns the commit of a branch whose work the checkout has: it was applied or merged. It only reads, which may take long. */
  async workElsewhere({ refs, branch }: FoundRefs, checkout: Checkout): Promise<string | undefined> {
    if (!branch) return undefined
    const isElsewhere =
      refs.get('applied')?.commit === branch.commit || (await this.#isMerged(branch.commit, refs, checkout))
    return isElsewhere ? branch.commit : undefined
  }

  /**
   * Cleans up what a task has left. Resolves with why its tree is kept although it could go. Rejects with a `GitError`.
   *
   * @param root the directory of its tree
   * @param elsewhere see `workElsewhere`
   */
  async clean(
    taskID: string,
    root: string,
    checkout: Checkout,
    elsewhere: string | undefined,
  ): Promise<string | undefined> {
    if (this.#ports.isUsed(taskID, root)) return undefined
    // Reads them again: launches and ends may have changed them.
    const found = (await findRefs(this.#git, checkout.root)).find(({ id }) => id === taskID)
    if (!found) return undefined
    const kept = await this.#cleanTree(found, root, checkout, elsewhere)
    if (kept?.why === undefined) await this.#expireRefs(found, checkout, kept !== undefined)
    return kept?.why
  }

  /** Removes the tree and the branch as far as the work allows. Resolves with `undefined` if there is no branch any more. */
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
    // Its process ended while git filled it: the next run fills it again.
    if (state === 'unfilled') return {}
    const isClean = state === 'removed' || (!state.isChanged && state.head === branch.commit)
    const isDone = elsewhere === branch.commit && !isLeft && isClean
    if (!isDone) {
      if (state === 'removed' || !this.#isOld(Math.max(state.changedAt, branch.at * 1000))) return {}
      const worktree = { root, checkout: checkout.root, branch: branch.name }
      const message = `What stood in the directory of ${id} before a clean-up`
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

  /** Whether the checkout has the commits of a branch, or the same patches. */
  async #isMerged(tip: string, refs: FoundRefs['refs'], { root, head }: Checkout): Promise<boolean> {
    const reachable = await this.#git(root, ['merge-base', '--is-ancestor', tip, head], { answers: [1] })
    if (reachable.code === 0) return true
    const base = refs.get('base')?.commit
    if (base === undefined) return false
    // `git cherry` ignores merges, and the changes that were made in them.
    const merges = await this.#git(root, ['rev-list', '--merges', '--count', `${base}..${tip}`])
    if (merges.stdout.trim() !== '0') return false
    const { stdout } = await this.#git(root, ['cherry', head, tip, base])
    return !stdout.includes('+')
  }

  async #stateOf(root: string): Promise<TreeState | 'unfilled'> {
    const { index, head, tree: committed } = await checkoutOf(this.#git, root)
    // git writes it last, and at each commit, switch and reset.
    const written = await stat(index).catch(() => undefined)
    if (!written) return 'unfilled'
    const tree = await treeOf(this.#git, root, index)
    return { isChanged: tree !== committed, head, changedAt: written.mtimeMs }
  }

  /** @param hasBranch whether there is still a branch */
  async #expireRefs({ id, refs, branch }: FoundRefs, { root }: Checkout, hasBranch: boolean): Promise<void> {
    const now = this.#ports.now()
    const gone = refs.get('gone')
    // Of an earlier branch, if there was one just now.
    const isPast = branch !== undefined
    if (gone && isPast) await this.#git(root, ['update-ref', '-d', refOf(id, 'gone'), gone.commit])
    if (hasBranch) return
    if (!gone || isPast) {
      await this.#markGone(id, refs, root)
      return
    }
    if (now - gone.at * 1000 < REF_DAYS * DAY_MS) return
    // All or none, and none that was moved meanwhile.
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
