/** A small file system of its own, which can be full. Only root can mount one. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, statfsSync } from 'node:fs'

const TRIES = 20

export interface SmallDisk {
  /** Fills the disk up to this many free bytes. */
  fill(leftBytes?: number): void
  /** Gives the disk its size back. */
  free(): void
  /** Unmounts it, also while a process still uses it. */
  close(): void
}

/**
 * Mounts a small disk at a directory, which is made if it does not exist. The disk takes only the memory of its files: `fill` shrinks
 * it to their size.
 */
export function mountDisk(path: string, bytes: number): SmallDisk {
  mkdirSync(path, { recursive: true })
  asRoot('mount', '-t', 'tmpfs', '-o', `size=${bytes},mode=777`, 'small', path)
  const resize = (size: number): void => asRoot('mount', '-o', `remount,size=${size}`, path)
  return {
    fill(leftBytes = 0) {
      for (let tries = 1; ; tries += 1) {
        const { bfree, blocks, bsize } = statfsSync(path)
        try {
          // A size of 0 is none.
          resize(Math.max((blocks - bfree) * bsize + leftBytes, bsize))
          return
        } catch (error) {
          // A process has written meanwhile.
          if (tries === TRIES) throw error
        }
      }
    },
    free: () => resize(bytes),
    close: () => asRoot('umount', '--lazy', path),
  }
}

function asRoot(program: string, ...args: readonly string[]): void {
  const [command, ...more] = process.getuid?.() === 0 ? [program, ...args] : ['sudo', program, ...args]
  execFileSync(command, more, { stdio: 'pipe' })
}
