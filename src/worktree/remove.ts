/** Removes the directory of a worktree whose files are committed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { fieldsOf, type Git } from './git.ts'
import { leftIgnored } from './included.ts'
import { submoduleAtRisk } from './submodules.ts'

/** How many such files are named. */
const NAMED = 5

/**
 * Removes the directory of a tree, and git's record of it. Resolves with why it is kept: it has what no one else has, or git
 * refuses.
 */
export async function removeDirectory(
  git: Git,
  { root, checkout }: Pick<Worktree, 'root' | 'checkout'>,
): Promise<string | undefined> {
  try {
    if (!existsSync(root)) {
      // git may have forgotten it too.
      await git(checkout, ['worktree', 'remove', root], { answers: [128] })
      return undefined
    }
    const ignored = await leftIgnored(git, { root, checkout })
    if (ignored.length > 0) return `it has ignored files: ${ignored.join(', ')}`
    const beside = await besideCommits(git, { root, checkout })
    if (beside !== undefined) return beside
    // Without force, so that git refuses a tree with a file that was written meanwhile.
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

/** Returns which files of a tree no commit of its end has, although they are not ignored; `undefined` if there are none. */
export async function besideCommits(
  git: Git,
  { root, checkout }: Pick<Worktree, 'root' | 'checkout'>,
): Promise<string | undefined> {
  const unseen = await unseenFiles(git, root)
  if (unseen.length > 0) return `git was told not to see changes of ${unseen.join(', ')}`
  // git neither commits nor misses files in the directory of an empty submodule.
  return submoduleAtRisk(git, root, checkout)
}

/** Returns the first files that are marked as unchanged, or as left out: no commit has their changes. */
async function unseenFiles(git: Git, root: string): Promise<string[]> {
  const marked = fieldsOf(await git(root, ['ls-files', '-v', '-z'])).filter((line) =>
    /^(?:[a-z]|S) /.test(line),
  )
  const paths = marked.map((line) => line.slice(2))
  return paths.filter((path) => existsSync(join(root, path))).slice(0, NAMED)
}

/** git removes no tree with filled submodules unless it is forced; that check is made here. */
async function removeWithSubmodules(git: Git, root: string, checkout: string): Promise<string | undefined> {
  const status = ['status', '--porcelain', '--untracked-files=all', '--ignore-submodules=none']
  if ((await git(root, status)).stdout !== '') return 'it has changes'
  await git(checkout, ['worktree', 'remove', '--force', root])
  return undefined
}
