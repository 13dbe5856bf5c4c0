/** The output files of a command. */
import { statSync } from 'node:fs'
import { join } from 'node:path'

export type Stream = 'stdout' | 'stderr'

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
