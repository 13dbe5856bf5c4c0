/** Commits what stands in a worktree, so that no work exists as files alone. */
import { checkoutOf, identityAt, snapshot } from './checkout.ts'
import { GitError, type Git } from './git.ts'
import type { Worktree } from '../work/agent/agent-work.ts'

/**
 * Commits all files of a tree that are not ignored on its branch, and returns the commit. Rejects with a `GitError` if the
 * branch cannot be advanced to it; the ref has it then.
 *
 * @param refOf returns the ref that keeps the commit, whatever happens to the branch
 */
export async function commitFiles(
  git: Git,
  worktree: Pick<Worktree, 'root' | 'checkout' | 'branch'>,
  message: string,
  refOf: (commit: string) => string,
): Promise<string> {
  const { root, checkout } = worktree
  const found = await checkoutOf(git, root)
  // Without its `.git`, the directory would be a part of a repository around it, such as that of a home.
  if (found.root !== root) throw new GitError('refused', `${root} is no worktree any more`)
  const { commit, head } = await snapshot(git, found, { message, identity: await identityAt(git, root) })
  const ref = refOf(commit)
  // First, so that the commit is kept whatever happens to the branch.
  await git(checkout, ['update-ref', ref, commit])
  if (commit !== head)
    await git(root, ['update-ref', '-m', message.split('\n')[0] ?? '', 'HEAD', commit, head])
  await advance(git, worktree, commit, ref)
  // Only its index is behind now. Another git may hold the lock, and nothing is lost by that.
  await git(root, ['reset', '--quiet'], { answers: [1, 128] })
  return commit
}

/** Advances the task's branch to a commit that the agent made on another one. */
async function advance(
  git: Git,
  { checkout, branch }: Pick<Worktree, 'checkout' | 'branch'>,
  commit: string,
  ref: string,
): Promise<void> {
  const name = `refs/heads/${branch}`
  const tip = await commitOf(git, checkout, name)
  if (tip === commit) return
  if (tip === undefined) await git(checkout, ['update-ref', name, commit])
  else {
    const { code } = await git(checkout, ['merge-base', '--is-ancestor', tip, commit], { answers: [1] })
    if (code !== 0)
      throw new GitError('refused', `${branch} has commits that its worktree lacks; ${ref} has the changes`)
    await git(checkout, ['update-ref', name, commit, tip])
  }
}

/** Returns the commit of a name; `undefined` if there is none. */
export async function commitOf(git: Git, directory: string, name: string): Promise<string | undefined> {
  const args = ['rev-parse', '--verify', '--quiet', `${name}^{commit}`]
  const { code, stdout } = await git(directory, args, { answers: [1, 128] })
  return code === 0 ? stdout.trim() : undefined
}
