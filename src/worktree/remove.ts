/** Removes the directory of a worktree whose files are committed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { fieldsOf, type Git } from './git.ts'
import { leftIgnored } from './included.ts'
import { submoduleAtRisk } from './submodules.ts'

/** The maximum number of files that a reason names. */
const NAMED = 5

/**
 * Removes the directory of a tree, and git's record of it. Resolves with the reason if it was kept, because it has files that
 * exist nowhere else, or because git failed.
 */
export async function removeDirectory(
  git: Git,
  { root, checkout }: Pick<Worktree, 'root' | 'checkout'>,
): Promise<string | undefined> {
  try {
    if (!existsSync(root)) {
      // git may have no record of the tree any more, which is exit code 128.
      await git(checkout, ['worktree', 'remove', root], { answers: [128] })
      return undefined
    }
    const ignored = await leftIgnored(git, { root, checkout })
    if (ignored.length > 0) return `it has ignored files: ${ignored.join(', ')}`
    const beside = await besideCommits(git, { root, checkout })
    if (beside !== undefined) return beside
    // No `--force`: git then refuses to remove a tree if a file was written since the checks.
    const remove = await git(checkout, ['worktree', 'remove', root]).then(
      () => undefined,
      (error: Error) => error.message,
    )
    return remove?.includes('containing submodules')
      ? await removeWithSubmodules(git, root, checkout)
      : remove
  } catch (error) {
    return (error as Error).message
  }
}

/** Returns, in words, the files of a tree that are not ignored and still in no commit; `undefined` if there are none. */
export async function besideCommits(
  git: Git,
  { root, checkout }: Pick<Worktree, 'root' | 'checkout'>,
): Promise<string | undefined> {
  const unseen = await unseenFiles(git, root)
  if (unseen.length > 0) return `git was told not to see changes of ${unseen.join(', ')}`
  // git does not commit files in the directory of an empty submodule, and does not report them as uncommitted.
  return submoduleAtRisk(git, root, checkout)
}

/** Returns the first files with the flag `assume-unchanged` or `skip-worktree`: no commit has their changes. */
async function unseenFiles(git: Git, root: string): Promise<string[]> {
  const marked = fieldsOf(await git(root, ['ls-files', '-v', '-z'])).filter((line) =>
    /^(?:[a-z]|S) /.test(line),
  )
  const paths = marked.map((line) => line.slice(2))
  return paths.filter((path) => existsSync(join(root, path))).slice(0, NAMED)
}

/** Removes a tree with filled submodules by `--force`, after the check that git makes without it. */
async function removeWithSubmodules(git: Git, root: string, checkout: string): Promise<string | undefined> {
  const status = ['status', '--porcelain', '--untracked-files=all', '--ignore-submodules=none']
  if ((await git(root, status)).stdout !== '') return 'it has changes'
  await git(checkout, ['worktree', 'remove', '--force', root])
  return undefined
}
