/** Starts `claiming-process.ts`, and reads what it prints. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('claiming-process.ts', import.meta.url))

export interface Line {
  readonly claimed?: string
  readonly beat?: 'held' | 'lost'
  /** Its own time of day. */
  readonly clock?: number
  readonly error?: string
}

export interface ClaimingProcess {
  /** Resolves with the first line, also an earlier one, that is so. */
  line(isIt: (line: Line) => boolean): Promise<Line>
  /** Ends it at once. */
  kill(): Promise<void>
}

/** @param clock how far its clock is off, for `faketime`, as `+2h`; '' for not at all */
export function startClaiming(url: string, name: string, beatMs: number, clock = ''): ClaimingProcess {
  const node = [process.execPath, '--import', 'tsx', PROGRAM, url, name, `${beatMs}`]
  const [command = '', ...args] = clock === '' ? node : ['faketime', '-f', clock, ...node]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const lines: Line[] = []
  const waiting = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text) as Line)
    for (const look of waiting) look()
  })
  return {
    line: (isIt) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = lines.find(isIt)
          if (!found) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exit = once(child, 'exit')
      // The whole group: `faketime` starts the program as a child of its own.
      process.kill(-(child.pid ?? 0), 'SIGKILL')
      await exit
    },
  }
}
