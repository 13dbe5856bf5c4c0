/**
 * Records when the setup of a worktree began and was done, as the ctimes of two files in git's directory of that worktree, which
 * is removed with it. Comparing a file's ctime with them shows whether the setup made the file.
 */
import { existsSync } from 'node:fs'
import { rm, stat, writeFile } from 'node:fs/promises'
import { gitPath } from './checkout.ts'
import type { Git } from './git.ts'

/** When the setup of a tree ran, in milliseconds since the Unix epoch. */
export interface SetupTime {
  readonly begun: number
  /** `Infinity` for a setup that has not succeeded: no agent has worked in the tree, so the setup made every newer file. */
  readonly done: number
}

function markPath(git: Git, root: string, name: 'begun' | 'done'): Promise<string> {
  return gitPath(git, root, `opencode-background-setup-${name}`)
}

/** Whether the setup of a tree was done; false for a tree that does not exist. */
export async function isSetUp(git: Git, root: string): Promise<boolean> {
  return existsSync(root) && existsSync(await markPath(git, root, 'done'))
}

export async function markBegun(git: Git, root: string): Promise<void> {
  await rm(await markPath(git, root, 'done'), { force: true })
  await writeFile(await markPath(git, root, 'begun'), '')
}

export async function markDone(git: Git, root: string): Promise<void> {
  await writeFile(await markPath(git, root, 'done'), '')
}

/** Returns the time of a tree's setup; `undefined` if none has begun. */
export async function setupTimeOf(git: Git, root: string): Promise<SetupTime | undefined> {
  const at = async (name: 'begun' | 'done'): Promise<number | undefined> =>
    (await stat(await markPath(git, root, name)).catch(() => undefined))?.ctimeMs
  const begun = await at('begun')
  return begun === undefined ? undefined : { begun, done: (await at('done')) ?? Infinity }
}
