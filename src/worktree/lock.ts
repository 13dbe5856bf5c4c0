/** Reads and writes locks of worktrees. git does not remove a locked one; the reason of ours names the task and its process. */
import type { CommandOwner } from '../work/command/files.ts'
import type { Git } from './git.ts'

type Owner = CommandOwner['owner']

export interface LockOwners {
  readonly self: Owner
  isGone(owner: Owner): boolean
}

/** A worktree as git lists it. */
export interface Listed {
  readonly root: string
  /** The branch that is checked out; absent for a detached HEAD. */
  readonly branch?: string
  /** The reason of its lock; absent if it is not locked. */
  readonly lock?: string
}

export function lockReason(id: string, { self }: LockOwners): string {
  return `opencode-background ${id} ${JSON.stringify(self)}`
}

/** Whether a lock is ours and its process is gone. Returns false for a foreign or unreadable lock, which must be respected. */
export function isLeftLock(reason: string, owners: LockOwners): boolean {
  const [, owner] = /^opencode-background \S+ (\{.*\})$/.exec(reason) ?? []
  try {
    return owner !== undefined && owners.isGone(JSON.parse(owner) as Owner)
  } catch {
    return false
  }
}

/** Returns all worktrees of a repository, its main one first. */
export async function listTrees(git: Git, checkout: string): Promise<Listed[]> {
  const { stdout } = await git(checkout, ['worktree', 'list', '--porcelain', '-z'])
  return stdout
    .split('\0\0')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const fields = new Map(
        entry.split('\0').map((field): [string, string] => {
          const [key = '', ...rest] = field.split(' ')
          return [key, rest.join(' ')]
        }),
      )
      const [branch, lock] = [fields.get('branch'), fields.get('locked')]
      return {
        root: fields.get('worktree') ?? '',
        ...(branch !== undefined && { branch: branch.replace('refs/heads/', '') }),
        ...(lock !== undefined && { lock }),
      }
    })
}
