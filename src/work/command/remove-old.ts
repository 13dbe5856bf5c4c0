/**
 * Removes the directories of old commands, and of more commands if all directories use too much space. A bundle of its own,
 * which the first command loads.
 */
import { existsSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../clock.ts'
import type { isRunning, readProcessIdentity } from './files.ts'
import type { isGroupAlive } from './process-group.ts'
import { KEPT_MS, TOLD } from './logs.ts'

/** How the commands of directories are recognized. */
interface Commands {
  readonly isRunning: typeof isRunning
  readonly readProcessIdentity: typeof readProcessIdentity
  readonly isGroupAlive: typeof isGroupAlive
}

interface Kept {
  readonly directory: string
  readonly bytes: number
  /** The newest time of any file, in milliseconds since the Unix epoch: leftovers may still write. */
  readonly writtenAt: number
  /** When its end was written; without an end, the newest time of its files except `told`. */
  readonly endedAt: number
}

/**
 * Removes directories of ended commands in `root`: first those without a write for a week; then, oldest end
 * first, those whose ends no parent is owed, until the rest uses at most `maxTotalBytes`. Rejects if a
 * directory cannot be removed; a missing root counts as empty.
 */
export async function removeOld(
  root: string,
  maxTotalBytes: number,
  clock: Clock,
  commands: Commands,
): Promise<void> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => [])
  const directories = entries.filter((it) => it.isDirectory()).map(({ name }) => join(root, name))
  const all = await Promise.all(directories.map((directory) => measured(directory)))
  const before = clock.now() - KEPT_MS
  const old = all.filter(({ directory, writtenAt }) => writtenAt < before && !commands.isRunning(directory))
  const kept = all.filter((each) => !old.includes(each)).toSorted((a, b) => a.endedAt - b.endedAt)
  let tooMuch = kept.reduce((sum, { bytes }) => sum + bytes, 0) - maxTotalBytes
  const room = kept.filter(({ directory, bytes }) => {
    if (tooMuch <= 0 || !mayGo(directory, commands)) return false
    tooMuch -= bytes
    return true
  })
  await Promise.all([...old, ...room].map(({ directory }) => rm(directory, { recursive: true, force: true })))
}

function mayGo(directory: string, commands: Commands): boolean {
  if (!existsSync(join(directory, TOLD)) || commands.isRunning(directory)) return false
  const identity = commands.readProcessIdentity(directory)
  return identity === undefined || !commands.isGroupAlive(identity.pid)
}

async function measured(directory: string): Promise<Kept> {
  const names = await readdir(directory).catch(() => [])
  const files = await Promise.all(
    names.map(async (name) => ({ name, stats: await stat(join(directory, name)).catch(() => undefined) })),
  )
  const own = await stat(directory).catch(() => undefined)
  const newest = (of: typeof files): number => Math.max(0, ...of.map(({ stats }) => stats?.mtimeMs ?? 0))
  return {
    directory,
    bytes: files.reduce((sum, { stats }) => sum + (stats?.isFile() ? stats.size : 0), 0),
    writtenAt: Math.max(own?.mtimeMs ?? 0, newest(files)),
    endedAt:
      newest(files.filter(({ name }) => name === 'exit')) ||
      newest(files.filter(({ name }) => name !== TOLD)),
  }
}
