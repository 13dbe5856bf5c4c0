/** Compares the end of a worktree with its base and with the parent's checkout. Writes only git objects, no files or refs. */
import type { Worktree } from '../work/agent/agent-work.ts'
import { checkoutOf, commitTree, OWN_IDENTITY, treeOf } from './checkout.ts'
import { commitOf, isAncestor } from './commit.ts'
import { fieldsOf, type Git } from './git.ts'
import { refOf } from './refs.ts'

/** How many changed or conflicting paths a record names. */
const NAMED = 20

export interface Stat {
  readonly commits: number
  readonly files: number
  readonly insertions: number
  readonly deletions: number
  /** The first changed paths. */
  readonly paths: readonly string[]
}

export async function statOf(git: Git, checkout: string, base: string, end: string): Promise<Stat> {
  const count = await git(checkout, ['rev-list', '--count', `${base}..${end}`])
  const args = ['diff-tree', '-r', '--no-renames', '--numstat', '-z', base, end]
  const rows = fieldsOf(await git(checkout, args)).map((row) => row.split('\t'))
  // `--numstat` prints `-` for a binary file.
  const sum = (column: number): number => rows.reduce((all, row) => all + (Number(row[column]) || 0), 0)
  return {
    commits: Number(count.stdout),
    files: rows.length,
    insertions: sum(0),
    deletions: sum(1),
    paths: rows.slice(0, NAMED).map((row) => row.slice(2).join('\t')),
  }
}

/** Returns the `others` that change at least one file that `first` changes too. */
export async function rivalsOf<Each extends Pick<Worktree, 'base'> & { readonly end: string }>(
  git: Git,
  checkout: string,
  first: Each,
  others: readonly Each[],
): Promise<Each[]> {
  const changed = async ({ base, end }: Each): Promise<Set<string>> => {
    const args = ['diff-tree', '-r', '--no-renames', '--name-only', '-z', base.commit, end]
    return new Set(fieldsOf(await git(checkout, args)))
  }
  const own = await changed(first)
  const theirs = await Promise.all(others.map(changed))
  return others.filter((_, index) => [...(theirs[index] ?? [])].some((path) => own.has(path)))
}

/**
 * Returns the first paths on which the end conflicts with the parent's current checkout; `undefined` if git cannot tell, as when
 * the checkout no longer exists or the disk is full.
 */
export async function conflictsOf(
  git: Git,
  worktree: Worktree,
  id: string,
  end: string,
): Promise<readonly string[] | undefined> {
  try {
    const { root, index } = await checkoutOf(git, worktree.checkout)
    const merged = await merge(git, worktree, id, await treeOf(git, root, index), end)
    return merged.conflicts.slice(0, NAMED)
  } catch {
    return undefined
  }
}

interface Merged {
  readonly tree: string
  readonly conflicts: readonly string[]
}

/**
 * Merges the tree of a checkout with an end, with the base of the worktree as merge base. If that conflicts and an earlier end of
 * the task was applied to the checkout, merges again with that end as merge base: the task may have changed its lines again. The
 * same holds for the end of another task from which its branch starts.
 */
export async function merge(
  git: Git,
  { checkout, base, from }: Worktree,
  id: string,
  tree: string,
  end: string,
): Promise<Merged> {
  const merged = await mergeOn(git, checkout, base.commit, tree, end)
  if (merged.conflicts.length === 0) return merged
  const applied = await commitOf(git, checkout, refOf(id, 'applied'))
  if (applied === undefined && from && (await isInCheckout(git, checkout, from)))
    return mergeOn(git, checkout, from.commit, tree, end)
  // If this very end was applied, the user's later edits cause the conflict, and another merge base would discard them.
  return applied === undefined || applied === end ? merged : mergeOn(git, checkout, applied, tree, end)
}

/** Whether the end of a task was applied to the checkout, or is merged into its HEAD. */
async function isInCheckout(
  git: Git,
  checkout: string,
  { taskID, commit }: NonNullable<Worktree['from']>,
): Promise<boolean> {
  if ((await commitOf(git, checkout, refOf(taskID, 'applied'))) === commit) return true
  return isAncestor(git, checkout, commit, 'HEAD')
}

async function mergeOn(git: Git, checkout: string, base: string, tree: string, end: string): Promise<Merged> {
  const onBase = (each: string): Promise<string> =>
    commitTree(git, checkout, each, [base], 'A side of a merge', OWN_IDENTITY)
  const [ours, theirs] = [await onBase(tree), await onBase(`${end}^{tree}`)]
  const args = ['merge-tree', '--write-tree', '--name-only', '--no-messages', '-z', ours, theirs]
  const [merged = '', ...conflicts] = fieldsOf(await git(checkout, args, { answers: [1] }))
  return { tree: merged, conflicts }
}
