/**
 * Watches and kills a shell command, which outlives the process that started it (`process-start.ts`), so that another process
 * can attach to it.
 *
 * A command ends with its shell. Leftover processes (`npm run dev &`) still write to its logs, which are
 * searched for `notifyOn` texts, and `kill` ends them; a process that leaves the session (`setsid`) is out of
 * reach. Waiting for leftovers would leave a command without an end; killing them would make `&` useless.
 */
import type { ChildProcess } from 'node:child_process'
import type { Clock } from '../../clock.ts'
import { processKey } from '../../task/owner.ts'
import {
  readEnd,
  readTail,
  type CommandEnd,
  type ProcessIdentity,
  type Tail,
  type TailOptions,
} from './files.ts'
import { logSize, type Stream } from './logs.ts'
import { isGroupAlive, signalGroup } from './process-group.ts'
import type { OutputSearch } from './monitoring.ts'

export interface ProcessOptions {
  readonly clock: Clock
  /** The delay between SIGTERM and SIGKILL for the group, in milliseconds. */
  readonly killGraceMs: number
  /** The limit for both streams together; unlimited by default. */
  readonly maxOutputBytes?: number
  /** Called at most once, when the output exceeds that limit, before `ended` resolves. Must not throw. */
  readonly onTooMuchOutput?: () => void
}

export interface AttachOptions extends ProcessOptions, ProcessIdentity {
  readonly directory: string
}

/** Interval of the poll for changes without an event. */
const POLL_MS = 250
const GROUP_POLL_MS = 25
/** How often SIGKILL is sent before the group counts as one that cannot be killed. */
const KILLS = 12
/** Interval of the poll for leftovers, whose group number the system may reuse once they have ended. */
const LEFTOVERS_POLL_MS = 1000
/** How much of a stream one poll searches, because the search blocks this process. */
const BYTES_PER_POLL = 4_000_000
/** Interval of the poll while a search has output left. */
const BEHIND_POLL_MS = 20

/**
 * Attaches to a command that was started earlier, maybe by another process. `ended` of an ended command
 * resolves at once. Its leftovers are no longer killed, because the group may belong to another process by then.
 */
export function attach(options: AttachOptions): CommandProcess {
  return new CommandProcess(options)
}

/**
 * The states of a command, each left by a poll or by the exit of our own child:
 *
 *   running → draining → leftovers → gone
 *
 * `running`: its shell runs. `draining`: its shell has ended, and the output from before its end is still
 * being searched. `leftovers`: `ended` has resolved, and the leftover processes are polled. `gone`: no
 * process of it runs, so that the system may reuse its process number.
 *
 * A signal is not a state: the strongest one sent decides whether texts are still searched, and how an end is
 * read that the wrapper did not write.
 */
export class CommandProcess implements ProcessIdentity {
  readonly directory: string
  readonly pid: number
  readonly key: string
  /** Never rejects. */
  readonly ended: Promise<CommandEnd>
  /** Settles when it has ended, and none of its processes is left. */
  readonly gone: Promise<void>
  readonly #options: AttachOptions
  readonly #isOurChild: boolean
  /** Whether the group was the command's when this process found it, and not a later one of its number. */
  readonly #isOurGroup: boolean
  readonly #watches = new Set<OutputSearch>()
  #resolve!: (end: CommandEnd) => void
  #resolveGone!: () => void
  #state: 'running' | 'draining' | 'leftovers' | 'gone' = 'running'
  /** The strongest signal that we have sent, before or after its end. */
  #sent: 'SIGTERM' | 'SIGKILL' | undefined
  /** The limit on its output in bytes, until the output has passed it. */
  #limitBytes: number | 'passed'
  #killing: Promise<void> | undefined
  #cancelPoll: (() => void) | undefined

  constructor(options: AttachOptions, child?: ChildProcess) {
    this.#options = options
    this.directory = options.directory
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

  /** Whether a process of it still runs: its shell, or a leftover process. */
  get isAlive(): boolean {
    return this.#isOurs() && isGroupAlive(this.pid)
  }

  /** Whether we have sent it a signal to end. */
  get wasSignalled(): boolean {
    return this.#sent !== undefined
  }

  /** In bytes. */
  size(stream: Stream): number {
    return logSize(this.directory, stream)
  }

  /** Returns the end of its output so far. Throws the errors of the file system. */
  tail(stream: Stream, options: TailOptions): Tail {
    return readTail(this.directory, stream, options)
  }

  /**
   * Runs a search through its output until that is done. Output from before the end is searched before `ended` resolves, and
   * output of leftover processes after it, until we send a signal.
   */
  watch(search: OutputSearch): void {
    this.#watches.add(search)
    if (this.#state === 'running') this.#pollAfter(0)
  }

  /** Ends the group: SIGTERM, then SIGKILL. Resolves when it has ended, and no killable process is left. */
  kill(): Promise<void> {
    this.#killing ??= this.#kill()
    return this.#killing
  }

  /** Sends SIGKILL to the group without waiting. */
  killNow(): void {
    this.#signal('SIGKILL')
  }

  async #kill(): Promise<void> {
    this.#signal('SIGTERM')
    let isGone = await this.#isGoneWithin(this.#options.killGraceMs)
    // A process that was being started missed the signal. Another user's process receives none.
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

  /** The system reuses no number of a live group: another process with this pid proves it was empty. */
  #isOurs(): boolean {
    if (this.#state === 'gone' || !this.#isOurGroup) return false
    const key = processKey(this.pid)
    return key === undefined || key === this.key
  }

  #isLeading(): boolean {
    return this.key !== '' && processKey(this.pid) === this.key
  }

  /** Runs all polls on one timer, and sets no timer if there is nothing to poll for. */
  #poll(): void {
    // The end that the wrapper wrote is proof, even if the exit event of our own child is lost.
    const isWritten = readEnd(this.directory) !== undefined
    if (isWritten || !this.#isOurChild) {
      if (!this.#isLeading()) {
        // The wrapper may have received our signal before it set its trap.
        this.#end(this.#sent ? { type: 'killed', signal: this.#sent } : { type: 'lost' })
        return
      }
      if (isWritten) {
        // The wrapper is about to end, and must not count as a leftover process.
        this.#pollAfter(GROUP_POLL_MS)
        return
      }
    }
    this.#checkSize()
    this.#searchTexts()
    const isLimited = this.#limitBytes !== Infinity && this.#limitBytes !== 'passed'
    if (this.#isOurChild && !isLimited && this.#watches.size === 0) return
    this.#pollAfter([...this.#watches].some(({ isBehind }) => isBehind) ? BEHIND_POLL_MS : POLL_MS)
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
        // The log cannot be read now; the next poll continues from its offset.
        if (hasEnded) this.#watches.delete(watch)
      }
      if (watch.isDone || (hasEnded && this.#limitBytes === 'passed')) this.#watches.delete(watch)
    }
  }

  #haveReached(sizes: Readonly<Record<Stream, number>>): boolean {
    return [...this.#watches].every((watch) => watch.hasReached(sizes))
  }

  /** Records the end. The end that the wrapper wrote wins over `otherwise`, the end of the wrapper itself. */
  #end(otherwise: CommandEnd): void {
    if (this.#state !== 'running') return
    this.#cancelPoll?.()
    this.#state = 'draining'
    this.#checkSize()
    this.#drain(readEnd(this.directory) ?? otherwise, this.#sizes())
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
    // Reads `isAlive` before the search, because a command that is gone writes nothing more.
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
