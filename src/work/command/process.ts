/**
 * One shell command as a process in a group of its own, with its output in files: it outlives the process that has
 * started it, and another one can attach to it.
 *
 * A command has ended when its shell has ended. Processes that it leaves running (`npm run dev &`) write on to its logs,
 * where `notifyOn` texts are still searched, and `kill` ends them; a process that leaves the session (`setsid`) is out of
 * reach. To wait for such processes would keep a finished command from ever ending, and to kill them would make `&` useless.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, closeSync, constants, mkdirSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '../../clock.ts'
import { processKey } from '../../task/owner.ts'
import {
  logSize,
  openLogs,
  readEnd,
  readTail,
  WRAPPER,
  writeOwner,
  writeProcessIdentity,
  type CommandOwner,
  type CommandEnd,
  type ProcessIdentity,
  type Stream,
  type Tail,
  type TailOptions,
} from './files.ts'
import { isGroupAlive, signalGroup } from './process-group.ts'
import { OutputMatcher } from './output-match.ts'

export interface ProcessOptions {
  readonly clock: Clock
  /** How long the group has to end after SIGTERM before it gets SIGKILL, in milliseconds. */
  readonly killGraceMs: number
  /** Of both streams together; unlimited by default. */
  readonly maxOutputBytes?: number
  /** The output is larger than that; called once at most, before `ended` resolves. Must not throw. */
  readonly onTooMuchOutput?: () => void
}

export interface StartOptions extends ProcessOptions {
  /** What the shell is given after `-c`. */
  readonly command: string
  /** The path of a shell. */
  readonly shell: string
  readonly cwd: string
  /** The whole environment. `mv` must be found in its PATH. */
  readonly env: NodeJS.ProcessEnv
  /** Whether its input stays open, with nothing in it; by default it is at its end. */
  readonly hasOpenInput?: boolean
  readonly belonging: CommandOwner
  /** The command's own, which is created, private; it must not exist yet. */
  readonly directory: string
}

export interface AttachOptions extends ProcessOptions, ProcessIdentity {
  readonly directory: string
}

/** How often what has no event of its own is looked at. */
const POLL_MS = 250
const GROUP_POLL_MS = 25
/** How often SIGKILL is sent, before it is believed that something cannot be killed. */
const KILLS = 12
/** How often what a command has left running is looked at: its number may be another's once it has ended. */
const LEFTOVERS_POLL_MS = 1000
/** How much of a stream is searched at a look; nothing else goes on meanwhile. */
const BYTES_PER_POLL = 4_000_000

/**
 * Starts a command. Throws an `Error` whose message says why it could not be started: a working directory or a shell
 * that is not there, a directory that cannot be written to, a command line longer than the system takes (128 KiB on
 * Linux). Nothing is left behind then.
 */
export function start({
  command,
  shell,
  cwd,
  env,
  directory,
  belonging,
  hasOpenInput = false,
  ...options
}: StartOptions): CommandProcess {
  // Node would name the shell as what is missing in both cases.
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) throw new Error(`no such directory: ${cwd}`)
  accessSync(shell, constants.X_OK)
  mkdirSync(dirname(directory), { recursive: true, mode: 0o700 })
  mkdirSync(directory, { mode: 0o700 })
  try {
    writeOwner(directory, belonging)
    const logs = openLogs(directory)
    let child: ChildProcess
    try {
      child = spawn('/bin/sh', ['-c', WRAPPER, 'sh', shell, command, directory, hasOpenInput ? 'open' : ''], {
        cwd,
        env,
        detached: true,
        stdio: ['ignore', logs.stdout, logs.stderr],
      })
    } finally {
      closeSync(logs.stdout)
      closeSync(logs.stderr)
    }
    // Node tells it again, by an event that nobody needs.
    child.on('error', () => {})
    if (child.pid === undefined) throw new Error('the system could not start it')
    const identity = { pid: child.pid, key: processKey(child.pid) ?? '' }
    try {
      writeProcessIdentity(directory, identity)
    } catch {
      // It has removed its own files, or the disk is full: it runs, but no other process will find it.
    }
    // It must not keep a process alive that is otherwise done.
    child.unref()
    return new CommandProcess({ ...identity, directory, ...options }, child)
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

/**
 * A command that was started earlier, maybe by another process. One that has ended has its end at once; what that has
 * left running is not killed any more, since nothing tells by then whose the group is.
 */
export function attach(options: AttachOptions): CommandProcess {
  return new CommandProcess(options)
}

export class CommandProcess implements ProcessIdentity {
  readonly pid: number
  readonly key: string
  /** Never rejects. */
  readonly ended: Promise<CommandEnd>
  readonly #options: AttachOptions
  readonly #isOurChild: boolean
  /** Whether the group is known to be the command's, and not a later one of the same number. */
  #isKnown: boolean
  /** Settles when it has ended, and nothing is left of what it has started. */
  readonly gone: Promise<void>
  readonly #watches = new Set<OutputMatcher>()
  #resolve!: (end: CommandEnd) => void
  #resolveGone!: () => void
  #hasEnded = false
  #hasTooMuch = false
  #wasKilled = false
  #wasToldToEnd = false
  #killing: Promise<void> | undefined
  #cancelPoll: (() => void) | undefined

  constructor(options: AttachOptions, child?: ChildProcess) {
    this.#options = options
    this.pid = options.pid
    this.key = options.key
    this.#isOurChild = child !== undefined
    this.#isKnown = this.#isOurChild || this.#isLeading()
    this.ended = new Promise((resolve) => (this.#resolve = resolve))
    this.gone = new Promise((resolve) => (this.#resolveGone = resolve))
    child?.once('exit', (code, signal) => {
      this.#end(signal === null ? { type: 'exited', code: code ?? 0 } : { type: 'killed', signal })
    })
    this.#pollAfter(0)
  }

  /** Whether something of it still runs: itself, or after its end what it has left running. */
  get isAlive(): boolean {
    return this.#isOurs() && isGroupAlive(this.pid)
  }

  /** Whether it was told to end, by us. */
  get wasToldToEnd(): boolean {
    return this.#wasToldToEnd
  }

  /** In bytes. */
  size(stream: Stream): number {
    return logSize(this.#options.directory, stream)
  }

  /** The end of what it has written so far. Throws what the file system throws. */
  tail(stream: Stream, options: TailOptions): Tail {
    return readTail(this.#options.directory, stream, options)
  }

  /**
   * Calls `onFound` once at most for each text that the output has in it, from its beginning; before `ended` resolves for
   * what was written until then, and after it while something that was left runs on and was not told to end. Escape
   * sequences do not count. `onFound` must not throw.
   */
  watchFor(texts: readonly string[], onFound: (text: string) => void): void {
    this.#watches.add(new OutputMatcher(this.#options.directory, texts, onFound))
    if (!this.#hasEnded) this.#pollAfter(0)
  }

  /** Ends the group: SIGTERM, and SIGKILL when that was not enough. Resolves when nothing is left of it. */
  kill(): Promise<void> {
    this.#killing ??= this.#kill()
    return this.#killing
  }

  /** SIGKILL for the group, without waiting for anything. */
  killNow(): void {
    this.#signal('SIGKILL')
  }

  async #kill(): Promise<void> {
    this.#signal('SIGTERM')
    if (!(await this.#isGone(this.#options.killGraceMs))) await this.#killUntilGone(KILLS)
    await this.ended
  }

  /** What was being started in the moment of a signal has not heard it. What is another user's hears none. */
  async #killUntilGone(times: number): Promise<void> {
    this.#signal('SIGKILL')
    if (!(await this.#isGone(POLL_MS)) && times > 1) await this.#killUntilGone(times - 1)
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#wasToldToEnd = true
    if (!this.#isOurs()) return
    if (signal === 'SIGKILL') this.#wasKilled ||= !this.#hasEnded
    signalGroup(this.pid, signal)
  }

  #isGone(withinMs: number): Promise<boolean> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + withinMs
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.isAlive) resolve(true)
        else if (clock.monotonic() >= deadline) resolve(false)
        else clock.after(GROUP_POLL_MS, look)
      }
      look()
    })
  }

  /** A number is not given again while a group has it: where its process is another, the group has been empty. */
  #isOurs(): boolean {
    const key = processKey(this.pid)
    return this.#isKnown && (key === undefined || key === this.key)
  }

  #isLeading(): boolean {
    return this.key !== '' && processKey(this.pid) === this.key
  }

  /** One timer for all that is looked at, and none when there is nothing to look for. */
  #poll(): void {
    // The end that the wrapper has written is proof, should the event of our own child be lost.
    const isWritten = readEnd(this.#options.directory) !== undefined
    if (isWritten || !this.#isOurChild) {
      if (!this.#isLeading()) {
        this.#end(this.#wasKilled ? { type: 'killed', signal: 'SIGKILL' } : { type: 'lost' })
        return
      }
      if (isWritten) {
        // The wrapper itself is about to end, and is nothing that the command has left running.
        this.#pollAfter(GROUP_POLL_MS)
        return
      }
    }
    this.#checkSize()
    this.#searchTexts()
    const { maxOutputBytes = Infinity } = this.#options
    const isLimited = maxOutputBytes !== Infinity && !this.#hasTooMuch
    if (this.#isOurChild && !isLimited && this.#watches.size === 0) return
    this.#pollAfter(POLL_MS)
  }

  #pollAfter(delayMs: number): void {
    this.#cancelPoll?.()
    this.#cancelPoll = this.#options.clock.after(delayMs, () => this.#poll())
  }

  #checkSize(): void {
    const { maxOutputBytes = Infinity, onTooMuchOutput } = this.#options
    const { stdout, stderr } = this.#sizes()
    if (this.#hasTooMuch || stdout + stderr <= maxOutputBytes) return
    this.#hasTooMuch = true
    onTooMuchOutput?.()
  }

  #sizes(): Readonly<Record<Stream, number>> {
    return { stdout: this.size('stdout'), stderr: this.size('stderr') }
  }

  #searchTexts(): void {
    for (const watch of this.#watches) {
      try {
        watch.search(BYTES_PER_POLL)
      } catch {
        // The log cannot be read now; the next look goes on where this one was.
        if (this.#hasEnded) this.#watches.delete(watch)
      }
      if (watch.isDone || (this.#hasEnded && this.#hasTooMuch)) this.#watches.delete(watch)
    }
  }

  #haveReached(sizes: Readonly<Record<Stream, number>>): boolean {
    return [...this.#watches].every((watch) => watch.hasReached(sizes))
  }

  /** What the wrapper has written counts; where it could not write, how it ended itself. */
  #end(otherwise: CommandEnd): void {
    if (this.#hasEnded) return
    this.#cancelPoll?.()
    this.#hasEnded = true
    this.#checkSize()
    this.#finish(readEnd(this.#options.directory) ?? otherwise, this.#sizes())
  }

  /** Searches all output of before the end before that is told, in pieces. */
  #finish(end: CommandEnd, sizes: Readonly<Record<Stream, number>>): void {
    this.#searchTexts()
    if (!this.#haveReached(sizes)) {
      this.#cancelPoll = this.#options.clock.after(0, () => this.#finish(end, sizes))
      return
    }
    this.#resolve(end)
    this.#pollLeftovers()
  }

  #pollLeftovers(): void {
    if (this.#wasToldToEnd) this.#watches.clear()
    // In this order: after it has been found gone, it writes nothing more.
    const { isAlive } = this
    this.#searchTexts()
    if (isAlive || !this.#haveReached(this.#sizes())) {
      this.#options.clock.after(isAlive ? LEFTOVERS_POLL_MS : 0, () => this.#pollLeftovers())
      return
    }
    this.#watches.clear()
    this.#isKnown = false
    this.#resolveGone()
  }
}
