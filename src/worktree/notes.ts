/** Makes notes about files that the agent of a new worktree may expect and not find. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { listed } from '../text/format.ts'
import type { Checkout } from './checkout.ts'
import { fieldsOf, type Git } from './git.ts'

/** Returns one note for each kind of file that a tree of this checkout lacks. */
export async function notesOf(
  git: Git,
  { root, index }: Checkout,
  hasSubmodules: boolean,
): Promise<readonly string[]> {
  const isSet = async (pattern: string): Promise<boolean> =>
    (await git(root, ['config', '--get-regexp', pattern], { answers: [1] })).code === 0
  const notes: string[] = []
  if (!hasSubmodules && existsSync(join(root, '.gitmodules')))
    notes.push('its submodules are empty (worktree.submodules: true fills them)')
  // Only the top `.gitattributes` is read, because most repositories with LFS declare it there.
  const attributes = await readFile(join(root, '.gitattributes'), 'utf8').catch(() => '')
  if (attributes.includes('filter=lfs') && !(await isSet(String.raw`^filter\.lfs\.(smudge|process)$`)))
    notes.push('its LFS files are pointers (`git lfs install` sets up the filter)')
  if (existsSync(join(dirname(index), 'info', 'sparse-checkout')) && (await isSparse(git, root)))
    notes.push('it has only the files of your sparse checkout')
  return notes
}

async function isSparse(git: Git, root: string): Promise<boolean> {
  const { stdout } = await git(root, ['config', '--bool', 'core.sparseCheckout'], { answers: [1] })
  return stdout.trim() === 'true'
}

/** How many files a note names. */
const NAMED = 5

/** Returns a note that names the files which git does not track yet, for a tree that lacks them. */
export async function untrackedNotes(git: Git, { root }: Checkout): Promise<string[]> {
  const paths = fieldsOf(await git(root, ['ls-files', '--others', '--exclude-standard', '-z']))
  if (paths.length === 0) return []
  return [`it lacks files that git does not track: ${listed(paths, NAMED)}`]
}
