/** Decides when the directories of old commands are removed, and marks those that can be. */
import { existsSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../clock.ts'
import { isRunning, readProcessIdentity } from './files.ts'
import { TOLD } from './logs.ts'
import { isGroupAlive } from './process-group.ts'

/** Shortest time between cleanings, because each one reads all directories. */
const BETWEEN_CLEANINGS_MS = 60_000
/** A disk with less free space than this counts as full, because some file systems reserve a little. */
const FULL_BYTES = 1_000_000

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
      // Loaded lazily, because many servers never run a command.
      import('./remove-old.ts')
        .then(({ removeOld }) =>
          removeOld(this.#root, this.#maxTotalBytes, this.#clock, {
            isRunning,
            readProcessIdentity,
            isGroupAlive,
          }),
        )
        .catch(this.#onError)
    })
  }

  dispose(): void {
    this.#cancel?.()
  }
}
