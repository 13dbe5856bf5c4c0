/** Reads the lines of one output stream from its file, in slices, however long the lines are. */
import { closeSync, openSync, readSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { logPath, logSize, type Stream } from '../logs.ts'

const CHUNK_BYTES = 64 * 1024
/** The part of a line that counts. */
export const LINE_BYTES = 16 * 1024

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const ESCAPE = '\u001B'
const EMPTY = Buffer.alloc(0)

export class LineScanner {
  readonly stream: Stream
  readonly #directory: string
  readonly #onLine: (line: string) => void
  /** Where the first line begins that was not passed on. */
  #lineStart: number
  /** Where the next chunk begins. */
  #offset: number
  #chunk: Buffer = EMPTY
  /** The next byte in the chunk. */
  #at = 0
  /** The next carriage return in the chunk at or after `#at`, or its end: searched once, because few logs have any. */
  #returnAt = 0
  /** The beginning of a line whose end is not read yet. */
  #begun: Buffer = EMPTY

  /**
   * @param offset where a line begins, in bytes
   * @param onLine called with each line that is not empty, without escape sequences, of at most `LINE_BYTES`
   */
  constructor(directory: string, stream: Stream, offset: number, onLine: (line: string) => void) {
    this.#directory = directory
    this.stream = stream
    this.#lineStart = offset
    this.#offset = offset
    this.#onLine = onLine
  }

  /** Where the first line begins that was not passed on, in bytes. */
  get lineStart(): number {
    return this.#lineStart
  }

  /** Up to where the output was searched, in bytes. */
  get searched(): number {
    return this.#offset - (this.#chunk.length - this.#at)
  }

  /** Reads lines until `isOver`, or the end of the output. A carriage return ends a line too. */
  scan(isOver: () => boolean): void {
    while (!isOver()) {
      if (this.#at === this.#chunk.length && !this.#read()) return
      if (this.#begun.length === 0) this.#skipEmpty()
      const end = this.#lineEnd()
      if (end === undefined) {
        this.#begun = this.#joined(this.#chunk.length)
        this.#at = this.#chunk.length
        continue
      }
      const line =
        this.#begun.length === 0
          ? this.#chunk.toString('utf8', this.#at, Math.min(end, this.#at + LINE_BYTES))
          : this.#joined(end).toString()
      this.#begun = EMPTY
      this.#at = end + 1
      this.#lineStart = this.searched
      this.#pass(line)
    }
  }

  /** Passes on the last line, which has no end. */
  finish(): void {
    const line = this.#begun.toString()
    this.#begun = EMPTY
    this.#pass(line)
  }

  #pass(line: string): void {
    const plain = line.includes(ESCAPE) ? stripVTControlCharacters(line) : line
    if (plain !== '') this.#onLine(plain)
  }

  /** Returns the begun line with the chunk up to `end`. */
  #joined(end: number): Buffer {
    const room = Math.max(0, LINE_BYTES - this.#begun.length)
    // A copy, so that the chunk can go.
    return Buffer.concat([this.#begun, this.#chunk.subarray(this.#at, Math.min(end, this.#at + room))])
  }

  /** Skips line breaks at the beginning of a line. */
  #skipEmpty(): void {
    const before = this.#at
    while (this.#chunk[this.#at] === NEWLINE || this.#chunk[this.#at] === CARRIAGE_RETURN) this.#at += 1
    if (this.#at > before) this.#lineStart = this.searched
  }

  #lineEnd(): number | undefined {
    if (this.#returnAt < this.#at) this.#returnAt = this.#find(CARRIAGE_RETURN)
    const end = Math.min(this.#returnAt, this.#find(NEWLINE))
    return end === this.#chunk.length ? undefined : end
  }

  #find(byte: number): number {
    const found = this.#chunk.indexOf(byte, this.#at)
    return found === -1 ? this.#chunk.length : found
  }

  /** Reads the next chunk. Returns false at the end of the output. */
  #read(): boolean {
    if (logSize(this.#directory, this.stream) <= this.#offset) return false
    const file = openSync(logPath(this.#directory, this.stream), 'r')
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES)
      const length = readSync(file, chunk, 0, CHUNK_BYTES, this.#offset)
      this.#chunk = chunk.subarray(0, length)
      this.#offset += length
      this.#at = 0
      this.#returnAt = -1
      return length > 0
    } finally {
      closeSync(file)
    }
  }
}
