/**
 * The ignored files that a worktree gets: those that match `.worktreeinclude` at the root of the checkout. The file has the
 * form of `.gitignore`.
 */
import { constants, existsSync } from 'node:fs'
import { copyFile, lstat, mkdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { fieldsOf, type Git } from './git.ts'

const LIST = '.worktreeinclude'
/** How many ignored files are named. */
const NAMED = 20

/** Copies the included files of the checkout into its tree. Links are not followed, and no file is replaced. */
export async function copyIncluded(git: Git, { checkout, root }: Worktree): Promise<void> {
  for (const path of await included(git, checkout)) {
    const target = join(root, path)
    const status = await lstat(join(checkout, path))
    if (!status.isFile() || existsSync(target)) continue
    // A directory of the checkout may be a link in the commit.
    const directory = dirname(target)
    await mkdir(directory, { recursive: true })
    if (!`${await realpath(directory)}/`.startsWith(`${root}/`)) continue
    await copyFile(join(checkout, path), target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
  }
}

/** Returns the files that match the list and are ignored. */
async function included(git: Git, checkout: string): Promise<string[]> {
  if (!existsSync(join(checkout, LIST))) return []
  const list = ['ls-files', '--others', '--ignored', `--exclude-from=${LIST}`, '-z']
  const { stdout } = await git(checkout, list)
  if (stdout === '') return []
  // 1: none of them is ignored.
  return fieldsOf(await git(checkout, ['check-ignore', '-z', '--stdin'], { input: stdout, answers: [1] }))
}

/** Returns the ignored files and directories of a tree that `copyIncluded` has not made, at most `NAMED`. */
export async function leftIgnored(git: Git, { checkout, root }: Worktree): Promise<string[]> {
  const args = ['ls-files', '--others', '--ignored', '--exclude-standard', '--directory', '-z']
  const left: string[] = []
  for (const path of fieldsOf(await git(root, args))) {
    if (left.length === NAMED) break
    const isCopy = !path.endsWith('/') && (await isEqual(join(checkout, path), join(root, path)))
    if (!isCopy) left.push(path)
  }
  return left
}

async function isEqual(one: string, other: string): Promise<boolean> {
  try {
    const [first, second] = await Promise.all([readFile(one), readFile(other)])
    return first.equals(second)
  } catch {
    return false
  }
}
