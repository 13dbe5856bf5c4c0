/** Commits what stands in a worktree, so that no work exists as files alone. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutOf, identityAt, snapshot } from './checkout.ts'
import { GitError, type Git } from './git.ts'
import { listTrees } from './lock.ts'
import type { Worktree } from '../work/agent/agent-work.ts'

/**
 * Commits all files of a tree that are not ignored on its branch, and returns the commit: that of the branch where the tree
 * has an earlier one without changes. Rejects with a `GitError` if the branch cannot be advanced to it; the ref has it then.
 *
 * @param refOf returns the ref that keeps the commit, whatever happens to the branch
 */
export async function commitFiles(
  git: Git,
  worktree: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
  message: string,
  refOf: (commit: string) => string,
): Promise<string> {
  const { root, checkout, branch } = worktree
  // Without its `.git`, the directory would be a part of a repository around it, such as that of a home.
  const found = existsSync(join(root, '.git')) ? await checkoutOf(git, root) : undefined
  if (found?.root !== root) throw new GitError('refused', `${root} is no worktree any more`)
  const { commit, head } = await snapshot(git, found, { message, identity: await identityAt(git, root) })
  const tip = await commitOf(git, checkout, `refs/heads/${branch}`)
  // An agent that compares its work with an earlier commit may leave that one checked out.
  const mayBeBehind = tip !== undefined && tip !== commit && commit === head
  const end = mayBeBehind && (await isAncestor(git, checkout, commit, tip)) ? tip : commit
  const ref = refOf(end)
  // First, so that the commit is kept whatever happens to the branch.
  await git(checkout, ['update-ref', ref, end])
  if (commit !== head) {
    const [reason = ''] = message.trimStart().split('\n')
    await git(root, ['update-ref', '-m', reason, 'HEAD', commit, head])
  }
  await advance(git, worktree, end, ref)
  // Only its index is behind now. Another git may hold the lock, and nothing is lost by that.
  await git(root, ['reset', '--quiet'], { answers: [1, 128] })
  return end
}

/** Advances the task's branch to a commit that the agent made on another one. */
async function advance(
  git: Git,
  { root, checkout, branch }: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
  commit: string,
  ref: string,
): Promise<void> {
  const name = `refs/heads/${branch}`
  const tip = await commitOf(git, checkout, name)
  if (tip === commit) return
  if (tip !== undefined && !(await isAncestor(git, checkout, tip, commit)))
    throw new GitError('refused', `${branch} has commits that its worktree lacks; ${ref} has the changes`)
  const other = await otherTreeOf(git, { root, checkout, branch })
  if (other !== undefined)
    throw new GitError('refused', `${branch} is checked out in ${other}; ${ref} has the changes`)
  await git(checkout, ['update-ref', name, commit, ...(tip === undefined ? [] : [tip])])
}

/** Returns another directory in which the branch is checked out, such as that of the parent: to move it would change that. */
export async function otherTreeOf(
  git: Git,
  { root, checkout, branch }: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
): Promise<string | undefined> {
  const trees = await listTrees(git, checkout)
  return trees.find((tree) => tree.branch === branch && tree.root !== root)?.root
}

async function isAncestor(git: Git, checkout: string, one: string, other: string): Promise<boolean> {
  const { code } = await git(checkout, ['merge-base', '--is-ancestor', one, other], { answers: [1] })
  return code === 0
}

/** Returns the commit of a name; `undefined` if there is none. */
export async function commitOf(git: Git, directory: string, name: string): Promise<string | undefined> {
  const args = ['rev-parse', '--verify', '--quiet', `${name}^{commit}`]
  const { code, stdout } = await git(directory, args, { answers: [1, 128] })
  return code === 0 ? stdout.trim() : undefined
}
