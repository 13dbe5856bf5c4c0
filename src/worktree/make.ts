/** Makes the directory of a worktree, or completes one that a killed call has left half made. The caller runs one call at a time for a checkout. */
import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Worktree } from '../work/agent/agent-work.ts'
import { gitPath } from './checkout.ts'
import { commitOf } from './commit.ts'
import { GitError, type Git } from './git.ts'
import { copyIncluded } from './included.ts'
import { listTrees } from './lock.ts'
import { newestEnd, refOf } from './refs.ts'

/** How often `git worktree add` is tried while another process holds a lock of git. */
const ADD_CALLS = 5

/** Makes the tree of a task if it does not exist, and locks it for this reason. Rejects with a `GitError`; leaves no new branch without a tree. */
export async function makeTree(git: Git, worktree: Worktree, id: string, reason: string): Promise<void> {
  const { checkout, root } = worktree
  if (!(await isTree(git, worktree))) return make(git, worktree, id, reason)
  if (!(await isFilled(git, worktree))) await fill(git, worktree)
  // Lock it anew, because the lock may name a process that is gone.
  await git(checkout, ['worktree', 'unlock', root], { answers: [128] })
  await git(checkout, ['worktree', 'lock', '--reason', reason, root])
}

/** Whether the directory is a worktree of git. */
async function isTree(git: Git, { root }: Worktree): Promise<boolean> {
  if (!existsSync(root)) return false
  const found = await git(root, ['rev-parse', '--show-toplevel', '--git-common-dir'], {
    answers: [128],
  })
  return found.code === 0 && found.stdout.split('\n')[0] === root
}

/** Removes the `.git` that a killed `git worktree add` left in the directory. Rejects if that has other files. */
async function removeHalfMade({ root, checkout }: Worktree): Promise<void> {
  if (!existsSync(root)) return
  const names = await readdir(root)
  if (names.some((name) => name !== '.git'))
    throw new GitError('refused', `${root} exists, and is no worktree of ${checkout}`)
  await rm(join(root, '.git'), { force: true })
}

/** Whether git has filled the tree once: it writes the index last. */
async function isFilled(git: Git, { root }: Worktree): Promise<boolean> {
  return existsSync(await gitPath(git, root, 'index'))
}

async function fill(git: Git, worktree: Worktree): Promise<void> {
  const { root } = worktree
  await rm(await gitPath(git, root, 'index.lock'), { force: true })
  await git(root, ['reset', '--hard', '--quiet'])
  await copyIncluded(git, worktree)
}

async function make(git: Git, worktree: Worktree, id: string, reason: string): Promise<void> {
  const { checkout, root, branch, base, from } = worktree
  await removeHalfMade(worktree)
  const isNew = (await commitOf(git, checkout, `refs/heads/${branch}`)) === undefined
  // If the branch was deleted, the task continues from its last end.
  const start = (isNew && (await newestEnd(git, checkout, id))) || startOf(worktree)
  if (from) await git(checkout, ['update-ref', refOf(id, 'base'), base.commit])
  const isListed = (await listTrees(git, checkout)).some((tree) => tree.root === root)
  // The directory is gone but git still lists the tree: one `--force` overrides that, and a second one a lock.
  const again = isListed ? ['--force', '--force'] : []
  const lock = ['--lock', '--reason', reason]
  const what = isNew ? ['--no-track', '-b', branch, root, start] : [root, branch]
  const add = ['worktree', 'add', '--quiet', ...again, ...lock, ...what]
  try {
    for (let calls = 1; !(await tryAdd(git, checkout, add, calls === ADD_CALLS)); calls += 1)
      if (isNew) await deleteBranch(git, worktree, start)
    await copyIncluded(git, worktree)
  } catch (error) {
    await git(checkout, ['worktree', 'unlock', root], { answers: [128] }).catch(() => {})
    if (isNew && !existsSync(root)) await deleteBranch(git, worktree, start)
    throw error
  }
}

/** Calls `git worktree add`. Returns false if another git held a lock, unless this is the last call, which then rejects. */
async function tryAdd(git: Git, checkout: string, add: readonly string[], isLast: boolean): Promise<boolean> {
  try {
    await git(checkout, add)
    return true
  } catch (error) {
    if (isLast || !(error instanceof GitError) || error.reason !== 'locked') throw error
    return false
  }
}

/** Deletes the branch if it still points at this commit. Never rejects. */
export async function deleteBranch(git: Git, { checkout, branch }: Worktree, commit: string): Promise<void> {
  await git(checkout, ['update-ref', '-d', `refs/heads/${branch}`, commit]).catch(() => {})
}

/** Returns the commit from which the branch of a tree starts. */
export function startOf({ base, from }: Worktree): string {
  return from?.commit ?? base.commit
}
