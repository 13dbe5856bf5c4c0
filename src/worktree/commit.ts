/** Commits the files of a worktree, so that no work exists only as uncommitted files. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutOf, identityAt, snapshot } from './checkout.ts'
import { GitError, type Git } from './git.ts'
import { listTrees } from './lock.ts'
import type { AgentTask } from '../task/task.ts'
import type { Worktree } from '../work/agent/agent-work.ts'

/** Returns the message of the commit that a run leaves, with trailers by which git finds the commits of a task. */
export function commitMessage({
  id,
  run,
  description,
}: Pick<AgentTask, 'id' | 'run' | 'description'>): string {
  return `${description}\n\nOpencode-Background-Task: ${id}\nOpencode-Background-Run: ${run}\n`
}

/**
 * Commits all files of a tree, except ignored ones, advances the branch to that commit, and returns it. If the tree has an
 * earlier commit of the branch checked out without changes, returns the branch's commit. Rejects with a `GitError` if the branch
 * cannot be advanced; the ref then still keeps the commit.
 *
 * @param refOf returns the ref that keeps a commit, whatever happens to the branch
 */
export async function commitFiles(
  git: Git,
  worktree: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
  message: string,
  refOf: (commit: string) => string,
): Promise<string> {
  const { root, checkout, branch } = worktree
  // Without `.git`, git would take the directory for a part of an enclosing repository, such as one of the home directory.
  const found = existsSync(join(root, '.git')) ? await checkoutOf(git, root) : undefined
  if (found?.root !== root) throw new GitError('refused', `${root} is no worktree any more`)
  const { commit, head } = await snapshot(git, found, { message, identity: await identityAt(git, root) })
  const tip = await commitOf(git, checkout, `refs/heads/${branch}`)
  // The agent may have checked out an earlier commit of the branch to compare, and left it checked out.
  const mayBeBehind = tip !== undefined && tip !== commit && commit === head
  const end = mayBeBehind && (await isAncestor(git, checkout, commit, tip)) ? tip : commit
  const ref = refOf(end)
  // Set the ref before the branch, so that the commit is kept even if the branch cannot be advanced.
  await git(checkout, ['update-ref', ref, end])
  if (commit !== head) {
    const [reason = ''] = message.trimStart().split('\n')
    await git(root, ['update-ref', '-m', reason, 'HEAD', commit, head])
  }
  await advance(git, worktree, end, ref)
  // Update the index, which alone is out of date now. A failure, as when another git holds the lock, loses nothing.
  await git(root, ['reset', '--quiet'], { answers: [1, 128] })
  return end
}

/** Advances the task's branch to a commit that was made elsewhere: by the agent on another branch, or in another clone. */
export async function advance(
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

/** Returns another directory that has the branch checked out, such as the parent's: moving the branch would change it. */
export async function otherTreeOf(
  git: Git,
  { root, checkout, branch }: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
): Promise<string | undefined> {
  const trees = await listTrees(git, checkout)
  return trees.find((tree) => tree.branch === branch && tree.root !== root)?.root
}

/** Whether `one` is `other` or an ancestor of it. */
export async function isAncestor(git: Git, checkout: string, one: string, other: string): Promise<boolean> {
  const { code } = await git(checkout, ['merge-base', '--is-ancestor', one, other], { answers: [1] })
  return code === 0
}

/** Returns the commit of a name; `undefined` if there is none. */
export async function commitOf(git: Git, directory: string, name: string): Promise<string | undefined> {
  const args = ['rev-parse', '--verify', '--quiet', `${name}^{commit}`]
  const { code, stdout } = await git(directory, args, { answers: [1, 128] })
  return code === 0 ? stdout.trim() : undefined
}
