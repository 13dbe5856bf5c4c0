/** Removes the directory of a worktree whose files are committed. */
import { existsSync } from 'node:fs'
import type { Worktree } from '../work/agent/agent-work.ts'
import type { Git } from './git.ts'
import { leftIgnored } from './included.ts'

/**
 * Removes the directory of a tree, and git's record of it. Resolves with why it is kept: it has ignored files that no one else
 * has, or git refuses.
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
    // Without force, so that git refuses a tree with submodules, or with a file that was written meanwhile.
    await git(checkout, ['worktree', 'remove', root])
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
