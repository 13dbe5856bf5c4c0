/** Removes the directories of old commands, and of more commands if all directories use too much space. */
import { existsSync, statfsSync, writeFileSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../clock.ts'
import { isRunning, readProcessIdentity } from './files.ts'
import { isGroupAlive } from './process-group.ts'

/** Shortest time between cleanings, because each one reads all directories. */
const BETWEEN_CLEANINGS_MS = 60_000
/** How long the files of a command are kept after their last write. */
export const KEPT_MS = 7 * 24 * 60 * 60 * 1000
/** A disk with less free space than this counts as full, because some file systems reserve a little. */
const FULL_BYTES = 1_000_000
/** The file that marks a directory whose end no parent is owed any more. */
const TOLD = 'told'

/** Records that no parent is owed the end of a command. Only such directories are removed to free space. */
export function markTold(directory: string): void {
  // The command or a person may have removed the directory.
  if (existsSync(directory)) writeFileSync(join(directory, TOLD), '', { mode: 0o600 })
}

/** Whether the disk of a directory is full; false if the system does not report it. */
export function isDiskFull(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory)
    return bavail * bsize < FULL_BYTES
  } catch {
    return false
  }
}

/** Removes old directories after starts and ends of commands, at most once per `BETWEEN_CLEANINGS_MS`. */
export class Retention {
  readonly #clock: Clock
  readonly #root: string
  readonly #maxTotalBytes: number
  readonly #onError: (error: unknown) => void
  #cleanedAt = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | undefined

  constructor(clock: Clock, root: string, maxTotalBytes: number, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#root = root
    this.#maxTotalBytes = maxTotalBytes
    this.#onError = onError
  }

  cleanSoon(): void {
    const waitMs = this.#cleanedAt + BETWEEN_CLEANINGS_MS - this.#clock.monotonic()
    this.#cancel ??= this.#clock.after(Math.max(0, waitMs), () => {
      this.#cancel = undefined
      this.#cleanedAt = this.#clock.monotonic()
      removeOld(this.#root, this.#maxTotalBytes, this.#clock).catch(this.#onError)
    })
  }

  dispose(): void {
    this.#cancel?.()
  }
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
export async function removeOld(root: string, maxTotalBytes: number, clock: Clock): Promise<void> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => [])
  const directories = entries.filter((it) => it.isDirectory()).map(({ name }) => join(root, name))
  const all = await Promise.all(directories.map((directory) => measured(directory)))
  const before = clock.now() - KEPT_MS
  const old = all.filter(({ directory, writtenAt }) => writtenAt < before && !isRunning(directory))
  const kept = all.filter((each) => !old.includes(each)).toSorted((a, b) => a.endedAt - b.endedAt)
  let tooMuch = kept.reduce((sum, { bytes }) => sum + bytes, 0) - maxTotalBytes
  const room = kept.filter(({ directory, bytes }) => {
    if (tooMuch <= 0 || !mayGo(directory)) return false
    tooMuch -= bytes
    return true
  })
  await Promise.all([...old, ...room].map(({ directory }) => rm(directory, { recursive: true, force: true })))
}

function mayGo(directory: string): boolean {
  if (!existsSync(join(directory, TOLD)) || isRunning(directory)) return false
  const identity = readProcessIdentity(directory)
  return identity === undefined || !isGroupAlive(identity.pid)
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
