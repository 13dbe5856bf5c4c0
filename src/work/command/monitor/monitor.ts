/**
 * Watches the output of a command for lines that match, and decides when a notice of them is due. A bundle of its own, which
 * only a command with `notifyEvery` loads.
 *
 *   quiet → due → taken → quiet
 *
 * `quiet`: no notice is open. Matches open one, at most one in `gapMs`, and at most `MOST_NOTICES` in a run. `due`: the parent
 * has been asked to send it. `taken`: it has its text; later matches wait, or are added if it is taken again because it could
 * not be sent. `told` ends it, when the parent's model has read it.
 *
 * The file `monitor` in the directory of the command has the state as of the last `take`, before its notice is sent. A process
 * that finds the command again searches on from there, so that a crash neither loses nor repeats a line.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RE2JS } from 're2js'
import type { Clock } from '../../../clock.ts'
import type { Monitored } from '../../../task/state.ts'
import { logSize, type Stream } from '../logs.ts'
import type { MonitorView, OutputSearch, TakenMatches } from '../monitoring.ts'
import { expressionOf } from './expressions.ts'
import { LineScanner } from './line-scanner.ts'
import { joined, linesText, NO_MATCHES, shortened, withLine, withNewest, type Matches } from './matches.ts'

interface Ports {
  readonly clock: Clock
  /** The directory of the command. */
  readonly directory: string
  readonly gapMs: number
  /** Called when a notice is due. Returns whether the task accepts it: otherwise its matches belong to its end. */
  readonly onDue: (monitored: Monitored) => boolean
}

const MOST_NOTICES = 20
/** The longest search at a time, because it blocks this process. One line adds at most `LINE_MS`. */
const SLICE_MS = 6
const LINE_MS = 6
/** The lengths of the beginnings of a line that show how fast its expression is. The last repeats, as the first runs may be slow. */
const PROBES = [32, 128, 128]
/** A slower probe is the last one. */
const SLOW_PROBE_MS = 1.5
/** How much of each stream is searched after the end, because the end is reported after the search. */
const REST_BYTES = 16 * 1024 * 1024
const PAUSE_MS = 10

/** The content of the file `monitor`. */
interface Saved {
  readonly version: 1
  /** Where the search continues in each stream. */
  readonly offsets: Readonly<Record<Stream, number>>
  readonly matches: number
  readonly notices: number
  /** The last of all matching lines. */
  readonly newest: readonly string[]
  /** The notice of this number, as long as the parent's model may not have read it. */
  readonly taken?: { readonly monitored: Monitored; readonly found: Matches }
  /** Set at the end: the text about the matches that no notice has. */
  readonly end?: string
}

/** Throws a `ToolError` unless each entry of `notifyOn` is an expression. */
export function checkEntries(entries: readonly string[]): void {
  expressionOf(entries)
}

/** Returns the matches of an ended command; `undefined` if its files were removed. */
export function savedView(directory: string): MonitorView | undefined {
  const saved = read(directory)
  return saved && { matches: saved.matches, notices: saved.notices, lines: shortened(saved.newest) }
}

export class Monitor implements OutputSearch {
  readonly #ports: Ports
  readonly #expression: RE2JS
  readonly #scanners: [LineScanner, LineScanner]
  #matches: number
  #notices: number
  #newest: readonly string[]
  /** The matches that no notice has. */
  #found = NO_MATCHES
  /** The open notice; with its matches once it was taken. */
  #open: { readonly monitored: Monitored; readonly found?: Matches } | undefined
  #end: string | undefined
  /** When the next notice can be due, on the monotonic clock. */
  #dueAt = Number.NEGATIVE_INFINITY
  #cancelTimer: (() => void) | undefined
  /** Where the search stops after the end of the command. */
  #until: Readonly<Record<Stream, number>> | undefined

  constructor(entries: readonly string[], ports: Ports) {
    this.#ports = ports
    this.#expression = expressionOf(entries)
    const saved = read(ports.directory)
    this.#matches = saved?.matches ?? 0
    this.#notices = saved?.notices ?? 0
    this.#newest = saved?.newest ?? []
    this.#open = saved?.taken
    this.#end = saved?.end
    const scanner = (stream: Stream): LineScanner =>
      new LineScanner(ports.directory, stream, saved?.offsets[stream] ?? 0, (line) => this.#observeLine(line))
    this.#scanners = [scanner('stdout'), scanner('stderr')]
  }

  /** Whether the command has ended, and all of its matches are counted. */
  get isDone(): boolean {
    return this.#end !== undefined
  }

  /** Whether the output has more than was searched. */
  get isBehind(): boolean {
    return this.#scanners.some(({ stream, searched }) => searched < logSize(this.#ports.directory, stream))
  }

  /** Searches new output for at most `SLICE_MS` and the time of one line. */
  search(maxBytes: number): void {
    const { clock } = this.#ports
    const since = clock.monotonic()
    const begun = this.#searched
    const isOver = (): boolean => clock.monotonic() - since >= SLICE_MS || this.#searched - begun >= maxBytes
    for (const scanner of this.#scanners) scanner.scan(isOver)
    // The other stream is first next time, because the first may have taken all of the time.
    this.#scanners.reverse()
    this.#openDue()
  }

  /** Whether each stream was searched up to its size here, or as far as it is searched after an end. */
  hasReached(sizes: Readonly<Record<Stream, number>>): boolean {
    this.#until ??= this.#rest()
    const until = this.#until
    return this.#scanners.every(({ stream, searched }) => searched >= Math.min(sizes[stream], until[stream]))
  }

  /** Searches the output of a command that has ended, and returns the text of `finish`. */
  async searchRest(): Promise<string> {
    const { clock, directory } = this.#ports
    const sizes = { stdout: logSize(directory, 'stdout'), stderr: logSize(directory, 'stderr') }
    while (!this.isDone && !this.hasReached(sizes)) {
      this.search(Infinity)
      await new Promise<void>((resolve) => clock.after(PAUSE_MS, resolve))
    }
    return this.finish(false)
  }

  /**
   * Ends the watch, and returns the text about the matches that no notice has, for the notice of the end. A notice that was
   * taken is sent as it is.
   */
  finish(hasLeftovers: boolean): string {
    this.stop()
    if (this.#end !== undefined) return this.#end
    for (const scanner of this.#scanners) scanner.finish()
    if (this.#open && !this.#open.found) {
      this.#open = undefined
      this.#notices -= 1
    }
    this.#end = [
      ...this.#endLines(),
      ...this.#unsearchedLines(),
      ...(hasLeftovers ? ['[The output of these processes is not watched.]'] : []),
    ].join('\n')
    this.#save()
    return this.#end
  }

  /**
   * Returns the text of the notice that is due, with all matches so far. A notice that was taken before and could not be sent
   * gets the later matches too. `undefined` if none is due.
   */
  take(): TakenMatches | undefined {
    if (!this.#open || this.isDone) return undefined
    const found = joined(this.#open.found ?? NO_MATCHES, this.#found)
    this.#found = NO_MATCHES
    this.#open = { monitored: { ...this.#open.monitored, matches: this.#matches }, found }
    this.#dueAt = this.#ports.clock.monotonic() + this.#ports.gapMs
    this.#save()
    return this.taken
  }

  /** The notice that was taken, and that the parent's model may not have read. */
  get taken(): TakenMatches | undefined {
    const { monitored, found } = this.#open ?? {}
    return monitored && found && { monitored, lines: noticeText(monitored, found) }
  }

  /** Observes that the parent's model has read the notice of this number. */
  told(notices: number): void {
    if (!this.#open?.found || this.#open.monitored.notices !== notices) return
    this.#open = undefined
    this.#openDue()
  }

  view(): MonitorView {
    return { matches: this.#matches, notices: this.#notices, lines: shortened(this.#newest) }
  }

  /** Stops waiting for the next notice. */
  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  get #searched(): number {
    return this.#scanners[0].searched + this.#scanners[1].searched
  }

  #observeLine(line: string): void {
    if (!this.#expression.test(line.slice(0, this.#roomFor(line)))) return
    this.#matches += 1
    this.#found = withLine(this.#found, line)
    this.#newest = withNewest(this.#newest, line)
  }

  /** Returns how many characters of a line the expression searches within `LINE_MS`: its time is linear, and so foreseeable. */
  #roomFor(line: string): number {
    const { clock } = this.#ports
    let msPerCharacter = Infinity
    for (const length of PROBES) {
      if (line.length <= length) return line.length
      const timed = (): number => {
        const since = clock.monotonic()
        this.#expression.test(line.slice(0, length))
        return clock.monotonic() - since
      }
      const first = timed()
      // A busy machine may have interrupted it.
      const ms = first > SLOW_PROBE_MS ? Math.min(first, timed()) : first
      msPerCharacter = Math.min(msPerCharacter, ms / length)
      if (msPerCharacter * line.length <= LINE_MS) return line.length
      if (ms > SLOW_PROBE_MS) break
    }
    return Math.floor(LINE_MS / msPerCharacter)
  }

  #openDue(): void {
    const { clock, onDue } = this.#ports
    if (this.#found.count === 0 || this.#open || this.isDone || this.#notices >= MOST_NOTICES) return
    const leftMs = this.#dueAt - clock.monotonic()
    if (leftMs > 0) {
      this.#cancelTimer ??= clock.after(leftMs, () => {
        this.#cancelTimer = undefined
        this.#openDue()
      })
      return
    }
    this.#open = { monitored: { matches: this.#matches, notices: this.#notices + 1, at: clock.now() } }
    if (onDue(this.#open.monitored)) this.#notices += 1
    else this.#open = undefined
  }

  #rest(): Readonly<Record<Stream, number>> {
    const [first, second] = this.#scanners
    return Object.fromEntries(
      [first, second].map(({ stream, searched }) => [stream, searched + REST_BYTES]),
    ) as Record<Stream, number>
  }

  #endLines(): string[] {
    if (this.#matches === 0) return ['[No line of its output matches its notify_on patterns.]']
    const { count } = this.#found
    if (count === 0) return []
    return [`[Matching lines that no notice has: ${count} of ${this.#matches}]`, ...linesText(this.#found)]
  }

  #unsearchedLines(): string[] {
    const { directory } = this.#ports
    return this.#scanners.flatMap(({ stream, searched }) => {
      const size = logSize(directory, stream)
      // Without a limit, the search was given up before the end, as after too much output. Behind it, leftover processes write.
      const isCut = searched < size && searched >= (this.#until?.[stream] ?? 0)
      return isCut ? [`[Its ${stream} is not searched from offset ${searched} on.]`] : []
    })
  }

  /** Written before a notice is sent. A disk that is full costs the guarantee after a crash alone. */
  #save(): void {
    const [first, second] = this.#scanners
    const saved: Saved = {
      version: 1,
      offsets: Object.fromEntries(
        [first, second].map(({ stream, lineStart }) => [stream, lineStart]),
      ) as Record<Stream, number>,
      matches: this.#matches,
      notices: this.#notices,
      newest: this.#newest,
      ...(this.#open?.found && { taken: { monitored: this.#open.monitored, found: this.#open.found } }),
      ...(this.#end !== undefined && { end: this.#end }),
    }
    const path = join(this.#ports.directory, FILE)
    try {
      writeFileSync(`${path}.new`, JSON.stringify(saved), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    } catch {
      // The command or a person removed the directory, or the disk is full.
    }
  }
}

const FILE = 'monitor'

function read(directory: string): Saved | undefined {
  try {
    const saved = JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as Saved
    return saved.version === 1 ? saved : undefined
  } catch {
    return undefined
  }
}

/** Returns the text of a notice of matches. */
function noticeText({ matches, notices }: Monitored, found: Matches): string {
  const { count } = found
  const soFar = matches > count ? `, ${matches} so far` : ''
  const last =
    notices >= MOST_NOTICES ? [`This is notice ${notices} of it: the next one reports its end.`] : []
  return [`Matching lines: ${count}${soFar}`, ...linesText(found), ...last].join('\n')
}
