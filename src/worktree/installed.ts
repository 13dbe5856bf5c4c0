/**
 * What OpenCode has installed for itself: at its first call in a directory, it installs the package of plugins with npm into each
 * `.opencode` that lacks it, and no call in that directory returns before (contract 17.5). A tree has those of the checkout.
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

/** Whether a path is an ignored one that OpenCode makes again. */
export function isInstalled(path: string): boolean {
  return INSTALLED.test(path)
}

/** Copies what is installed for the checkout and ignored by git into the tree, where that has the same folder. */
export async function copyInstalled(git: Git, { checkout, root, directory }: Worktree): Promise<void> {
  const below = relative(root, directory).split('/')
  const folders = ['', ...below.map((_, depth) => below.slice(0, depth + 1).join('/'))]
  const paths = [...new Set(folders)]
    .map((folder) => join(folder, FOLDER))
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .filter((path) => existsSync(join(checkout, path)) && !existsSync(join(root, path)))
  for (const path of paths) {
    // 1: it is not ignored, and so not for us to add.
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
