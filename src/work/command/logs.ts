/** The output files of a command, and how long they are kept. */
import { statSync } from 'node:fs'
import { join } from 'node:path'

export type Stream = 'stdout' | 'stderr'

/** How long the files of a command are kept after their last write. */
export const KEPT_MS = 7 * 24 * 60 * 60 * 1000
/** The file that marks a directory whose end no parent is owed any more. */
export const TOLD = 'told'

export function logPath(directory: string, stream: Stream): string {
  return join(directory, stream)
}

/** In bytes; 0 for a log that was removed or cannot be read. */
export function logSize(directory: string, stream: Stream): number {
  try {
    return statSync(logPath(directory, stream)).size
  } catch {
    return 0
  }
}
