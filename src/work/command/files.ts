/** Reads and writes the directory of a command: its output, its end, its process and its owner. */
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import * as z from 'zod/mini'
import type { Piece } from '../../text/pages.ts'
import { signalOf } from './exit-code.ts'
import { logPath, logSize, type Stream } from './logs.ts'
import { drawnLast } from './redraw.ts'
import { ownerSchema, processKey, type Owner } from '../../task/owner.ts'

/** The ends of both streams of a command, and the directory of the files that contain all of them. */
export interface CommandOutput extends Readonly<Record<Stream, Tail>> {
  readonly directory: string
  /** Whether it has ended, and processes that it started still run. */
  readonly hasLeftovers: boolean
  /** Whether its files were removed, by the command itself or to free space. */
  readonly isGone: boolean
}

/** How a command ended. `lost`: its process is gone without an exit status, as after a reboot. */
export type CommandEnd =
  | { readonly type: 'exited'; readonly code: number }
  | { readonly type: 'killed'; readonly signal: NodeJS.Signals }
  | { readonly type: 'lost' }

/** Identifies a process: the system reuses a pid, but never a pid with its key. */
export interface ProcessIdentity {
  readonly pid: number
  /** See `processKey`; empty if the command ended before its key was read. */
  readonly key: string
}

export interface Tail {
  /** Without escape sequences. Whole lines, unless the last line alone exceeds the requested size. */
  readonly text: string
  /** How many bytes of the log precede it; approximate for a log that is not text. */
  readonly leftOutBytes: number
}

export interface TailOptions {
  /** At most this many of the last bytes, before escape sequences are removed. */
  readonly bytes: number
  /** At most this many of the last lines; all by default. */
  readonly lines?: number
}

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d

/** Multiplies how much of a log with carriage returns is read: overwritten text would displace lines. */
const REDRAWN = 16

/**
 * Runs `$2` in the shell `$1`, and writes its exit status to the directory `$3`. The wrapper survives signals
 * to the group by handling them, because the command would inherit ignored signals. A status above 128 may be
 * a signal's or the command's own; sh reports a signal on its standard error, except SIGINT and SIGPIPE
 * (seen: dash, busybox, mksh, and bash outside its POSIX mode).
 *
 * The input is at its end. With `open` as `$4` it never ends: it is a pipe whose other end the command holds
 * too, so that it does not depend on the process that started the command.
 */
export const WRAPPER = `(set +o posix) 2>/dev/null && set +o posix
if [ "$4" = open ] && mkfifo -m 600 "$3/stdin"; then exec <>"$3/stdin" && rm "$3/stdin"; fi
trap : HUP INT QUIT TERM
exec 3>&2 2>"$3/exit.new"
(exec "$1" -c "$2" 2>&3 3>&-)
set -- "$3" "$?"
trap '' HUP INT QUIT TERM
if [ -s "$1/exit.new" ]; then how=signal; else how=status; fi
echo "$how $2" >"$1/exit.new" && mv -f "$1/exit.new" "$1/exit"
exit "$2"`

/** Creates the file that the wrapper expects, and opens the logs. The directory must exist without them. */
export function openLogs(directory: string): Readonly<Record<Stream, number>> {
  // Created here with its mode, because the wrapper would create it under the umask of the command.
  writeFileSync(join(directory, 'exit.new'), '', { mode: 0o600, flag: 'wx' })
  const stdout = openSync(logPath(directory, 'stdout'), 'ax', 0o600)
  try {
    return { stdout, stderr: openSync(logPath(directory, 'stderr'), 'ax', 0o600) }
  } catch (error) {
    closeSync(stdout)
    throw error
  }
}

/** Writes the identity by which another process finds the command. */
export function writeProcessIdentity(directory: string, { pid, key }: ProcessIdentity): void {
  writeFileSync(join(directory, 'process'), `${pid} ${key}\n`, { mode: 0o600 })
}

/** The owner of a command, and its limit, for a process that finds the command after its owner is gone. */
export interface CommandOwner {
  readonly owner: Owner
  /** 0: no limit. */
  readonly timeoutMs: number
  /** Whether that limit is the default, and was not requested. */
  readonly timeoutIsDefault?: boolean
}

const commandOwnerSchema = z.object({
  owner: ownerSchema,
  timeoutMs: z.number(),
  timeoutIsDefault: z.exactOptional(z.boolean()),
})

export function writeOwner(directory: string, belonging: CommandOwner): void {
  writeFileSync(join(directory, 'task'), `${JSON.stringify(belonging)}\n`, { mode: 0o600 })
}

/** `undefined` if it was not written, or not by this plugin. */
export function readOwner(directory: string): CommandOwner | undefined {
  try {
    return commandOwnerSchema.parse(JSON.parse(readFileSync(join(directory, 'task'), 'utf8')))
  } catch {
    return undefined
  }
}

/** `undefined` for a command that was never started. */
export function readProcessIdentity(directory: string): ProcessIdentity | undefined {
  const [, pid, key] = /^(\d+) (.*)\n$/.exec(readText(join(directory, 'process')) ?? '') ?? []
  return pid === undefined || key === undefined ? undefined : { pid: Number(pid), key }
}

/** In milliseconds since the Unix epoch; `undefined` for a command that was never started. */
export function startedAt(directory: string): number | undefined {
  return writtenAt(join(directory, 'process'))
}

/** When its end was written, in milliseconds since the Unix epoch; `undefined` if it was not. */
export function endedAt(directory: string): number | undefined {
  return writtenAt(join(directory, 'exit'))
}

function writtenAt(path: string): number | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats && Math.round(stats.mtimeMs)
}

/** Returns the end that the wrapper wrote; `undefined` if it wrote none. */
export function readEnd(directory: string): CommandEnd | undefined {
  const [, how, status] = /^(signal|status) (\d+)\n$/.exec(readText(join(directory, 'exit')) ?? '') ?? []
  if (status === undefined) return undefined
  const code = Number(status)
  const signal = how === 'signal' ? signalOf(code) : undefined
  return signal === undefined ? { type: 'exited', code } : { type: 'killed', signal }
}

/**
 * Returns the end of a log, and reads no more than that, unless the log has carriage returns. Empty for a log
 * that was removed.
 */
export function readTail(directory: string, stream: Stream, { bytes, lines = Infinity }: TailOptions): Tail {
  if (logSize(directory, stream) === 0) return { text: '', leftOutBytes: 0 }
  const file = openSync(logPath(directory, stream), 'r')
  try {
    const { size } = fstatSync(file)
    // The byte before the requested part shows whether that part starts a line.
    const end = readLast(file, size, bytes + 1)
    const read = end.includes(CARRIAGE_RETURN) ? readLast(file, size, bytes * REDRAWN + 1) : end
    const drawn = drawnLast(read)
    const shown = drawn.subarray(Math.max(0, drawn.length - bytes - 1))
    const isCut = read.length < size || drawn.length > bytes
    const start = lastLines(shown, isCut ? firstLine(shown) : 0, lines)
    // `stream` omits a last character that is only partly written so far.
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(shown.subarray(start), { stream: true })
    // Each invalid byte has become a character of three bytes.
    const [kept, left] = lastBytes(stripVTControlCharacters(text), bytes)
    const before =
      drawn === read ? drawn.length - shown.length + start : lineStart(read, shown.subarray(start))
    return { text: kept, leftOutBytes: size - read.length + before + left }
  } finally {
    closeSync(file)
  }
}

/** Reads at most `bytes` bytes of a log from `offset`, in bytes. Empty for a log that was removed. */
export function readPiece(directory: string, stream: Stream, offset: number, bytes: number): Piece {
  const size = logSize(directory, stream)
  if (offset >= size) return { bytes: Buffer.alloc(0), offset, size }
  const file = openSync(logPath(directory, stream), 'r')
  try {
    const buffer = Buffer.alloc(Math.min(bytes, size - offset))
    return { bytes: buffer.subarray(0, readSync(file, buffer, 0, buffer.length, offset)), offset, size }
  } finally {
    closeSync(file)
  }
}

function readLast(file: number, size: number, bytes: number): Buffer {
  const from = Math.max(0, size - bytes)
  const buffer = Buffer.alloc(size - from)
  return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, from))
}

/** Returns where the lines of `end` begin in `read`: redrawing changes bytes, but not the number of lines. */
function lineStart(read: Buffer, end: Buffer): number {
  let lines = end.length === 0 || end.at(-1) === NEWLINE ? 0 : 1
  for (let at = end.indexOf(NEWLINE); at !== -1; at = end.indexOf(NEWLINE, at + 1)) lines++
  return lastLines(read, 0, lines)
}

/** Returns the last `count` bytes of a text, and how many bytes precede them. */
function lastBytes(text: string, count: number): [end: string, leftOut: number] {
  const encoded = Buffer.from(text)
  if (encoded.length <= count) return [text, 0]
  const end = encoded
    .subarray(encoded.length - count)
    .toString('utf8')
    .replace(/^\uFFFD+/, '')
  return [end, encoded.length - Buffer.byteLength(end)]
}

/** Returns where the first whole line begins after the extra byte; of a single line, its first character. */
function firstLine(read: Buffer): number {
  const newline = read.indexOf(NEWLINE)
  if (newline !== -1 && newline < read.length - 1) return newline + 1
  let start = 1
  while (((read[start] ?? 0) & 0xc0) === 0x80) start++
  return start
}

/** Returns where the last `lines` lines begin, not before `start`. A newline at the end begins no line. */
function lastLines(read: Buffer, start: number, lines: number): number {
  let end = read.at(-1) === NEWLINE ? read.length - 1 : read.length
  if (lines <= 0) return read.length
  for (let line = 0; line < lines; line++) {
    end = end > start ? read.subarray(start, end).lastIndexOf(NEWLINE) + start : start - 1
    if (end < start) return start
  }
  return end + 1
}

/** Whether the command of this directory has started, and has not ended. */
export function isRunning(directory: string): boolean {
  if (readEnd(directory)) return false
  const identity = readProcessIdentity(directory)
  return identity !== undefined && identity.key !== '' && processKey(identity.pid) === identity.key
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
