/**
 * Writes the changes of a worktree into the checkout of its parent, as changes that are not staged. Nothing is written where
 * one of them conflicts, and the index stays as it is: `git apply --3way` and `--index` would stage, or refuse a checkout with
 * changes.
 */
import type { Applied } from '../task/task.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { checkoutOf, commitTree, OWN_IDENTITY, treeOf } from './checkout.ts'
import { fieldsOf, GitError, type Git } from './git.ts'
import { merge } from './merge.ts'

/**
 * @param ref keeps the state of the checkout before each apply
 * @param check whether to find out only what would happen
 */
export async function apply(
  git: Git,
  worktree: Worktree,
  end: string,
  ref: string,
  check: boolean,
): Promise<Applied> {
  const { root, index, head } = await checkoutOf(git, worktree.checkout)
  const before = await treeOf(git, root, index)
  const { tree, conflicts } = await merge(git, worktree, before, end)
  if (conflicts.length > 0) return { type: 'conflicts', paths: conflicts }
  const names = ['diff-tree', '-r', '--no-renames', '--name-only', '-z', before, tree]
  const paths = fieldsOf(await git(root, names))
  if (check || paths.length === 0) return { type: paths.length === 0 ? 'nothing' : 'clean', paths }
  const directory = await mkdtemp(join(tmpdir(), 'opencode-background-apply-'))
  try {
    // A file, because files of any encoding are in it.
    const patch = join(directory, 'patch')
    const diff = [
      'diff-tree',
      '-p',
      '--binary',
      '--full-index',
      '--no-renames',
      '--no-ext-diff',
      '--no-textconv',
    ]
    await git(root, [...diff, `--output=${patch}`, before, tree])
    const write = ['apply', '--whitespace=nowarn']
    await git(root, [...write, '--check', patch])
    if ((await treeOf(git, root, index)) !== before)
      throw new GitError('refused', 'the checkout changed meanwhile, and nothing was written; try again')
    const kept = await git(root, ['rev-parse', '--verify', '--quiet', ref], { answers: [1] })
    const parents = [head, ...(kept.code === 0 ? [kept.stdout.trim()] : [])]
    const state = await commitTree(git, root, before, parents, 'The checkout before an apply', OWN_IDENTITY)
    await git(root, ['update-ref', ref, state])
    await git(root, [...write, patch])
    return { type: 'applied', paths }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
