/**
 * Copies the packages that OpenCode has installed for itself into a tree. Otherwise OpenCode would install its plugin package
 * with npm into each `.opencode` that lacks it, and every call in that directory would wait for that (contract 17.5).
 */
import { constants, existsSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import type { Git } from './git.ts'

const FOLDER = '.opencode'
const INSTALLED =
  /(?:^|\/)\.opencode\/(?:node_modules\/?|package\.json|package-lock\.json|bun\.lock|\.gitignore)$/
const NAMES = ['node_modules', 'package.json', 'package-lock.json', 'bun.lock']

/** Whether OpenCode installs this ignored path again when it is missing. */
export function isInstalled(path: string): boolean {
  return INSTALLED.test(path)
}

/** Copies installed, ignored files from each `.opencode` of the checkout to the same folder of the tree, if the tree has it. */
export async function copyInstalled(git: Git, { checkout, root, directory }: Worktree): Promise<void> {
  const below = relative(root, directory).split('/')
  const folders = ['', ...below.map((_, depth) => below.slice(0, depth + 1).join('/'))]
  const paths = [...new Set(folders)]
    .map((folder) => join(folder, FOLDER))
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .filter((path) => existsSync(join(checkout, path)) && !existsSync(join(root, path)))
  for (const path of paths) {
    // Exit code 1: the path is not ignored, so that adding it would change the tree.
    const { code } = await git(checkout, ['check-ignore', '--quiet', path], { answers: [1] })
    if (code !== 0) continue
    const options = {
      recursive: true,
      force: false,
      verbatimSymlinks: true,
      mode: constants.COPYFILE_FICLONE,
    }
    await cp(join(checkout, path), join(root, path), options)
  }
}
