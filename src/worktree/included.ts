/**
 * Copies ignored files into a worktree: those that match the patterns of `.worktreeinclude` at the root of the checkout, which
 * has the syntax of `.gitignore`. Also finds the ignored files that a removal of the worktree would lose.
 */
import { constants, existsSync } from 'node:fs'
import { copyFile, lstat, mkdir, readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { fieldsOf, type Git } from './git.ts'
import { copyInstalled, isInstalled } from './installed.ts'
import { setupTimeOf, type SetupTime } from './setup-marks.ts'

const LIST = '.worktreeinclude'
/** The maximum number of ignored files that `leftIgnored` returns. */
const NAMED = 20

/** Copies the included files of the checkout into its tree. Links are not followed, and no file is replaced. */
export async function copyIncluded(git: Git, worktree: Worktree): Promise<void> {
  const { checkout, root } = worktree
  for (const path of await included(git, checkout)) {
    const target = join(root, path)
    const status = await lstat(join(checkout, path))
    if (!status.isFile() || existsSync(target)) continue
    // In the tree, a directory of the path may be a symbolic link that leads out of it.
    const directory = dirname(target)
    await mkdir(directory, { recursive: true })
    if (!`${await realpath(directory)}/`.startsWith(`${root}/`)) continue
    await copyFile(join(checkout, path), target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
  }
  await copyInstalled(git, worktree)
}

/** Returns the ignored files that match `.worktreeinclude`. */
async function included(git: Git, checkout: string): Promise<string[]> {
  if (!existsSync(join(checkout, LIST))) return []
  const list = ['ls-files', '--others', '--ignored', `--exclude-from=${LIST}`, '-z']
  const { stdout } = await git(checkout, list)
  if (stdout === '') return []
  // Exit code 1: none of the files is ignored.
  return fieldsOf(await git(checkout, ['check-ignore', '-z', '--stdin'], { input: stdout, answers: [1] }))
}

/**
 * Returns up to `NAMED` ignored files and directories of a tree that neither `copyIncluded`, the setup nor OpenCode made. Of a
 * directory that also contains files they made, returns only the first file they did not make.
 */
export async function leftIgnored(
  git: Git,
  { checkout, root }: Pick<Worktree, 'checkout' | 'root'>,
): Promise<string[]> {
  const setup = await setupTimeOf(git, root)
  const isOurs = async (path: string): Promise<boolean> =>
    (setup !== undefined && (await isMadeWithin(join(root, path), setup))) ||
    isEqual(join(checkout, path), join(root, path))
  const args = ['ls-files', '--others', '--ignored', '--exclude-standard', '--directory', '-z']
  const left: string[] = []
  for (const path of fieldsOf(await git(root, args))) {
    if (left.length === NAMED) break
    if (isInstalled(path)) continue
    if (!path.endsWith('/')) {
      if (!(await isOurs(path))) left.push(path)
      continue
    }
    const { ours, others } = await sorted(root, path, isOurs)
    if (others !== undefined) left.push(ours === undefined ? path : others)
  }
  return left
}

/** Returns the first file in a directory for which `isOurs` holds, and the first for which it does not. */
async function sorted(
  root: string,
  directory: string,
  isOurs: (path: string) => Promise<boolean>,
): Promise<{ readonly ours: string | undefined; readonly others: string | undefined }> {
  let [ours, others]: (string | undefined)[] = []
  const waiting = [directory]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const entries = await readdir(join(root, next), { withFileTypes: true })
    for (const entry of entries) if (entry.isDirectory()) waiting.push(`${next}${entry.name}/`)
    const files = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => `${next}${name}`)
    const areOurs = await Promise.all(files.map(isOurs))
    ours ??= files[areOurs.indexOf(true)]
    others ??= files[areOurs.indexOf(false)]
    if (ours !== undefined && others !== undefined) break
  }
  return { ours, others }
}

/** Whether a file was written or moved while the setup ran. Reads the ctime, because no program can set it. */
async function isMadeWithin(path: string, { begun, done }: SetupTime): Promise<boolean> {
  const { ctimeMs } = await lstat(path)
  return begun <= ctimeMs && ctimeMs <= done
}

async function isEqual(one: string, other: string): Promise<boolean> {
  try {
    const [first, second] = await Promise.all([lstat(one), lstat(other)])
    if (!first.isFile() || !second.isFile() || first.size !== second.size) return false
    const [text, same] = await Promise.all([readFile(one), readFile(other)])
    return text.equals(same)
  } catch {
    return false
  }
}
