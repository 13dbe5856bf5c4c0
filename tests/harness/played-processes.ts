/**
 * Processes of commands that a test plays, on any clock: the plugin starts, finds, signals and reads them as real ones, by files
 * that are real. Import it before the plugin, because it takes the place of what starts and signals processes.
 */
import { EventEmitter } from 'node:events'
import { appendFileSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { vi } from 'vitest'
import type * as ownerModule from '../../src/task/owner.ts'

interface Played {
  readonly pid: number
  readonly command: string
  readonly directory: string
  readonly child: EventEmitter
}

/** Above all real process ids. */
const FIRST_PID = 1_000_000_000
const KEY = 'played'

/** The running ones, by process id. */
const running = new Map<number, Played>()
let nextPID = FIRST_PID
/** The ids of the processes of the plugin that have crashed. */
const crashed = new Set<number>()
/** Called when a process has started. */
let onStart: (command: string) => void = () => {}

function end(pid: number, code: number | null, signal: NodeJS.Signals | null): void {
  const played = running.get(pid)
  running.delete(pid)
  // As a real exit, the event comes when the caller has gone on.
  if (played) setImmediate(() => played.child.emit('exit', code, signal))
}

vi.mock('node:child_process', async (original) => ({
  ...(await original<object>()),
  spawn: (_: string, [, , , , command = '', directory = '']: readonly string[]) => {
    const task = JSON.parse(readFileSync(join(directory, 'task'), 'utf8')) as { owner: { pid: number } }
    // Calls that were under way go on in the test, where they would have ended with their process.
    if (crashed.has(task.owner.pid)) throw new Error('the process that starts it has crashed')
    const pid = nextPID++
    const child = Object.assign(new EventEmitter(), { pid, unref: () => {} })
    running.set(pid, { pid, command, directory, child })
    setImmediate(() => onStart(command))
    return child
  },
}))

vi.mock('../../src/work/command/process-group.ts', () => ({
  signalGroup: (pid: number, signal: NodeJS.Signals) => end(pid, null, signal),
  isGroupAlive: (pid: number) => running.has(pid),
  processesOf: () => [],
}))

vi.mock('../../src/task/owner.ts', async (original) => {
  const owner = await original<typeof ownerModule>()
  const processKey = (pid: number): string | undefined =>
    pid < FIRST_PID ? owner.processKey(pid) : running.has(pid) ? KEY : undefined
  return { ...owner, processKey }
})

/** The processes of one test. */
export class PlayedProcesses {
  readonly #now: () => number

  /** @param now the time, in milliseconds since the Unix epoch */
  constructor(now: () => number) {
    this.#now = now
    running.clear()
    crashed.clear()
    onStart = () => {}
  }

  /** Writes lines to the output of a command; returns whether it runs. */
  print(command: string, lines: readonly string[]): boolean {
    const played = this.#find(command)
    if (played) appendFileSync(join(played.directory, 'stdout'), lines.map((line) => `${line}\n`).join(''))
    return played !== undefined
  }

  exit(command: string, code: number): void {
    const played = this.#find(command)
    if (!played) return
    writeFileSync(join(played.directory, 'exit'), `status ${code}\n`)
    this.#date(played, 'exit')
    end(played.pid, code, null)
  }

  /** Ends all processes, and each that is started later. */
  exitAll(): void {
    for (const { command } of running.values()) this.exit(command, 0)
    onStart = (command) => this.exit(command, 0)
  }

  /**
   * Has the processes outlive the one that started them, which hears no more of them, and starts none any more.
   *
   * @param pid the id of the process of the plugin that crashes
   */
  orphan(pid: number): void {
    crashed.add(pid)
    for (const played of running.values()) {
      played.child.removeAllListeners()
      this.#date(played, 'process')
    }
  }

  #find(command: string): Played | undefined {
    return [...running.values()].find((played) => played.command === command)
  }

  #date({ directory }: Played, file: string): void {
    const seconds = this.#now() / 1000
    utimesSync(join(directory, file), seconds, seconds)
  }
}
