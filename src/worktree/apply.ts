/**
 * Writes the changes of a worktree into the checkout of its parent, unstaged. Writes nothing if any change conflicts, and never
 * changes the index. Plain `git apply` is used, because `--3way` would stage the changes, and `--index` would refuse a checkout
 * that has changes.
 */
import type { Applied } from '../task/state.ts'
import { lstat, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { checkoutOf, commitTree, OWN_IDENTITY, treeOf } from './checkout.ts'
import { errorText } from '../host/opencode.ts'
import { fieldsOf, GitError, type Git } from './git.ts'
import { merge } from './merge.ts'
import { refOf } from './refs.ts'

/** Matches the raw diff entry of a submodule that was changed, created or deleted. */
const SUBMODULE = /^:(?:160000 160000|000000 160000|160000 000000) /
const CHANGED = 'the checkout changed meanwhile; try again'

/** An apply failed, and its writes could not be undone. The message names the ref that has the files as they were before. */
export class PartlyApplied extends Error {}

/**
 * @param check whether to report the result without writing
 */
export async function apply(
  git: Git,
  worktree: Worktree,
  id: string,
  end: string,
  check: boolean,
): Promise<Applied> {
  // Keeps the state of the checkout before each apply.
  const ref = refOf(id, 'before-apply')
  const { root, index, head } = await checkoutOf(git, worktree.checkout)
  const before = await treeOf(git, root, index)
  const { tree, conflicts } = await merge(git, worktree, id, before, end)
  if (conflicts.length > 0) return { type: 'conflicts', paths: conflicts }
  const { paths, created, submodules } = await changesOf(git, root, before, tree)
  const rest = submodules.length > 0 && { submodules }
  if (paths.length === 0 && rest)
    throw new GitError(
      'refused',
      `its only changes are new commits of submodules (${submodules.join(', ')}), which an apply does not write; push those, and merge ${worktree.branch}`,
    )
  if (check || paths.length === 0) return { type: paths.length === 0 ? 'nothing' : 'clean', paths, ...rest }
  const directory = await mkdtemp(join(tmpdir(), 'opencode-background-apply-'))
  try {
    // The patch stays in a file, because its text can have any encoding, and `stdout` is decoded as UTF-8.
    const patch = join(directory, 'patch')
    const diff = [
      'diff-tree',
      '-p',
      '--binary',
      '--full-index',
      '--no-renames',
      '--ignore-submodules=all',
      '--no-ext-diff',
      '--no-textconv',
    ]
    await git(root, [...diff, `--output=${patch}`, before, tree])
    const write = ['apply', '--whitespace=nowarn']
    const count = ['diff-tree', '-r', '--no-renames', '--ignore-submodules=all', '--numstat', '-z']
    const counts = await git(root, [...count, before, tree])
    const checked = await git(root, [...write, '--check', '--numstat', '-z', patch])
    // git exits with 0 although it could not write the whole patch to a full disk (seen).
    if (checked.stdout !== counts.stdout)
      throw new GitError('refused', 'git has not written the whole patch; the disk may be full')
    if ((await treeOf(git, root, index)) !== before) throw new GitError('refused', CHANGED)
    const kept = await git(root, ['rev-parse', '--verify', '--quiet', ref], { answers: [1] })
    const parents = [head, ...(kept.code === 0 ? [kept.stdout.trim()] : [])]
    const state = await commitTree(git, root, before, parents, 'The checkout before an apply', OWN_IDENTITY)
    await git(root, ['update-ref', ref, state])
    const { code } = await git(root, [...write, patch], { answers: [1] }).catch(async (error: unknown) => {
      // `git apply` writes one file after another, so a full disk can stop it halfway.
      await putBack(git, root, before, paths, created).catch(() => {
        throw new PartlyApplied(
          `${errorText(error)}. Some files may have been written: ${ref} has all files as they were before`,
        )
      })
      throw error
    })
    // git checks all files before it writes the first one, so it has written none, and the user's newer content must stay.
    if (code === 1) throw new GitError('refused', CHANGED)
    return { type: 'applied', paths, ...rest }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/**
 * Returns the paths of all files that differ, and again those of the created ones. Submodules are separate, because a patch can
 * only create their directories.
 */
async function changesOf(
  git: Git,
  root: string,
  before: string,
  after: string,
): Promise<Readonly<Record<'paths' | 'created' | 'submodules', readonly string[]>>> {
  const fields = fieldsOf(await git(root, ['diff-tree', '-r', '--no-renames', '--raw', '-z', before, after]))
  const pathsOf = (kind: RegExp): string[] =>
    fields.filter((_, position) => position % 2 === 1 && kind.test(fields[position - 1] ?? ''))
  const submodules = pathsOf(SUBMODULE)
  const isFile = (path: string): boolean => !submodules.includes(path)
  return { paths: pathsOf(/./).filter(isFile), created: pathsOf(/A$/).filter(isFile), submodules }
}

/** Restores `paths` from a tree, and deletes the `created` ones, which it lacks. The index does not change. */
async function putBack(
  git: Git,
  root: string,
  tree: string,
  paths: readonly string[],
  created: readonly string[],
): Promise<void> {
  for (const path of created) {
    // Keep a directory: it existed before, and the ignored files in it made the apply fail.
    const status = await lstat(join(root, path)).catch(() => undefined)
    if (status?.isDirectory() === false) await rm(join(root, path))
  }
  const others = paths.filter((path) => !created.includes(path))
  if (others.length === 0) return
  const restore = [
    'restore',
    `--source=${tree}`,
    '--worktree',
    '--pathspec-from-file=-',
    '--pathspec-file-nul',
  ]
  await git(root, ['--literal-pathspecs', ...restore], { input: others.join('\0') })
}
