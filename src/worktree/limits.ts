/** Limits the worktrees of a project: their number, and the free space of their disk. */
import { existsSync } from 'node:fs'
import { readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { listed } from '../text/format.ts'
import { GitError } from './git.ts'

/** The minimum of free space for a new tree, because its agent will write files and build. */
const LEAST_FREE_BYTES = 2_000_000_000
/** The maximum number of trees that a refusal names. */
const NAMED = 5

/** Returns the free space on the disk of a directory; `Infinity` if the system does not report it. */
export async function freeBytes(directory: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(directory)
    return bavail * bsize
  } catch {
    return Infinity
  }
}

/** Rejects with a `GitError` if the disk is nearly full. */
export async function refuseFullDisk(directory: string, free: typeof freeBytes): Promise<void> {
  const bytes = await free(directory)
  if (bytes >= LEAST_FREE_BYTES) return
  const gigabytes = (bytes / 1_000_000_000).toFixed(1)
  throw new GitError(
    'refused',
    `the disk of ${directory} has ${gigabytes} GB free, and a worktree needs 2; free some, or set worktree.directory`,
  )
}

/** Counts the trees of a project, including those of launched tasks whose directories do not exist yet. */
export class PlannedTrees {
  /** By task id: the directory of its project. */
  readonly #homes = new Map<string, string>()
  readonly #hasEnded: (taskID: string) => boolean

  constructor(hasEnded: (taskID: string) => boolean) {
    this.#hasEnded = hasEnded
  }

  /** Adds a tree, or rejects with a `GitError` if its project has `max` already. */
  async add(taskID: string, home: string, max: number): Promise<void> {
    const names = await readdir(home)
    // No await from here on: otherwise two concurrent launches could both take the last place.
    const made = names.filter((name) => existsSync(join(home, name, '.git')))
    for (const id of this.#homes.keys()) if (!this.has(id)) this.#homes.delete(id)
    const planned = [...this.#homes].flatMap(([id, each]) => (each === home ? [id] : []))
    const ids = [...new Set([...made, ...planned])].toSorted()
    if (ids.length >= max) throw tooMany(ids, max)
    this.#homes.set(taskID, home)
  }

  /** Whether the tree of a task is planned or used in this process. */
  has(taskID: string): boolean {
    return this.#homes.has(taskID) && !this.#hasEnded(taskID)
  }

  delete(taskID: string): void {
    this.#homes.delete(taskID)
  }
}

function tooMany(ids: readonly string[], max: number): GitError {
  return new GitError(
    'refused',
    `this project has ${ids.length} worktrees, and its limit (worktree.max) is ${max}: ${listed(ids, NAMED)}. ` +
      'Apply or merge the work of ended tasks, or remove their trees with `git worktree remove`',
  )
}
