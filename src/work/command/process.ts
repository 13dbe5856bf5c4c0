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

/** Interval of the poll for what has no event. */
const POLL_MS = 250
const GROUP_POLL_MS = 25
/** How often SIGKILL is sent before the group counts as one that cannot be killed. */
const KILLS = 12
/** Interval of the poll for leftovers: their group number may be another's once they have ended. */
const LEFTOVERS_POLL_MS = 1000
/** How much of a stream one poll searches, because it blocks this process meanwhile. */
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

/**
 * The states of a command, each left by a poll or by the exit of our own child:
 *
 *   running → draining → leftovers → gone
 *
 * `running`: its shell runs. `draining`: its shell has ended, and the output from before its end is still being searched.
 * `leftovers`: `ended` has resolved, and what the command has left running is polled. `gone`: nothing of it runs, so that
 * the system may give its process number to another.
 *
 * A signal is no state of its own: the newest one sent decides whether texts are still searched, and what an end without
 * a word of the wrapper means.
 */
export class CommandProcess implements ProcessIdentity {
  readonly pid: number
  readonly key: string
  /** Never rejects. */
  readonly ended: Promise<CommandEnd>
  /** Settles when it has ended, and nothing is left of what it has started. */
  readonly gone: Promise<void>
  readonly #options: AttachOptions
  readonly #isOurChild: boolean
  /** Whether the group was the command's when this process found it, and not a later one of the same number. */
  readonly #isOurGroup: boolean
  readonly #watches = new Set<OutputMatcher>()
  #resolve!: (end: CommandEnd) => void
  #resolveGone!: () => void
  #state: 'running' | 'draining' | 'leftovers' | 'gone' = 'running'
  /** The strongest signal that we have sent while it ran, or after its end. */
  #sent: 'SIGTERM' | 'SIGKILL' | undefined
  /** The limit on its output in bytes, until it has passed it. */
  #limitBytes: number | 'passed'
  #killing: Promise<void> | undefined
  #cancelPoll: (() => void) | undefined

  constructor(options: AttachOptions, child?: ChildProcess) {
    this.#options = options
    this.pid = options.pid
    this.key = options.key
    this.#isOurChild = child !== undefined
    this.#isOurGroup = this.#isOurChild || this.#isLeading()
    this.#limitBytes = options.maxOutputBytes ?? Infinity
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

  /** Whether we have sent it a signal to end. */
  get wasSignalled(): boolean {
    return this.#sent !== undefined
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
   * what was written until then, and after it while something that was left runs on and got no signal to end. Escape
   * sequences do not count. `onFound` must not throw.
   */
  watchFor(texts: readonly string[], onFound: (text: string) => void): void {
    this.#watches.add(new OutputMatcher(this.#options.directory, texts, onFound))
    if (this.#state === 'running') this.#pollAfter(0)
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
    let isGone = await this.#isGoneWithin(this.#options.killGraceMs)
    // A process that was just being started missed the signal. One of another user gets none.
    for (let times = 0; !isGone && times < KILLS; times += 1) {
      this.#signal('SIGKILL')
      isGone = await this.#isGoneWithin(POLL_MS)
    }
    await this.ended
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (!this.#isOurs()) return
    if (this.#sent !== 'SIGKILL') this.#sent = signal
    signalGroup(this.pid, signal)
  }

  #isGoneWithin(ms: number): Promise<boolean> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + ms
    return new Promise((resolve) => {
      const check = (): void => {
        if (!this.isAlive) resolve(true)
        else if (clock.monotonic() >= deadline) resolve(false)
        else clock.after(GROUP_POLL_MS, check)
      }
      check()
    })
  }

  /** The system gives no number again while a group has it: where its process is another, the group has been empty. */
  #isOurs(): boolean {
    if (this.#state === 'gone' || !this.#isOurGroup) return false
    const key = processKey(this.pid)
    return key === undefined || key === this.key
  }

  #isLeading(): boolean {
    return this.key !== '' && processKey(this.pid) === this.key
  }

  /** One timer for all that is polled, and none where there is nothing to poll for. */
  #poll(): void {
    // The end that the wrapper has written is proof, should the event of our own child be lost.
    const isWritten = readEnd(this.#options.directory) !== undefined
    if (isWritten || !this.#isOurChild) {
      if (!this.#isLeading()) {
        // The wrapper may have got our signal before it could catch it.
        this.#end(this.#sent ? { type: 'killed', signal: this.#sent } : { type: 'lost' })
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
    const isLimited = this.#limitBytes !== Infinity && this.#limitBytes !== 'passed'
    if (this.#isOurChild && !isLimited && this.#watches.size === 0) return
    this.#pollAfter(POLL_MS)
  }

  #pollAfter(delayMs: number): void {
    this.#cancelPoll?.()
    this.#cancelPoll = this.#options.clock.after(delayMs, () => this.#poll())
  }

  #checkSize(): void {
    const { stdout, stderr } = this.#sizes()
    if (this.#limitBytes === 'passed' || stdout + stderr <= this.#limitBytes) return
    this.#limitBytes = 'passed'
    this.#options.onTooMuchOutput?.()
  }

  #sizes(): Readonly<Record<Stream, number>> {
    return { stdout: this.size('stdout'), stderr: this.size('stderr') }
  }

  #searchTexts(): void {
    const hasEnded = this.#state !== 'running'
    for (const watch of this.#watches) {
      try {
        watch.search(BYTES_PER_POLL)
      } catch {
        // The log cannot be read now; the next poll goes on where this one was.
        if (hasEnded) this.#watches.delete(watch)
      }
      if (watch.isDone || (hasEnded && this.#limitBytes === 'passed')) this.#watches.delete(watch)
    }
  }

  #haveReached(sizes: Readonly<Record<Stream, number>>): boolean {
    return [...this.#watches].every((watch) => watch.hasReached(sizes))
  }

  /** What the wrapper has written counts; where it could not write, how it ended itself. */
  #end(otherwise: CommandEnd): void {
    if (this.#state !== 'running') return
    this.#cancelPoll?.()
    this.#state = 'draining'
    this.#checkSize()
    this.#drain(readEnd(this.#options.directory) ?? otherwise, this.#sizes())
  }

  /** Searches all output from before the end, in pieces, before `ended` resolves. */
  #drain(end: CommandEnd, sizes: Readonly<Record<Stream, number>>): void {
    this.#searchTexts()
    if (!this.#haveReached(sizes)) {
      this.#cancelPoll = this.#options.clock.after(0, () => this.#drain(end, sizes))
      return
    }
    this.#state = 'leftovers'
    this.#resolve(end)
    this.#pollLeftovers()
  }

  #pollLeftovers(): void {
    if (this.#sent) this.#watches.clear()
    // In this order: after it has been found gone, it writes nothing more.
    const { isAlive } = this
    this.#searchTexts()
    if (isAlive || !this.#haveReached(this.#sizes())) {
      this.#options.clock.after(isAlive ? LEFTOVERS_POLL_MS : 0, () => this.#pollLeftovers())
      return
    }
    this.#watches.clear()
    this.#state = 'gone'
    this.#resolveGone()
  }
}
