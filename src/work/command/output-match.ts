/** Searches both output streams of a command, from their beginnings, for literal texts. */
import { closeSync, openSync, readSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { logPath, logSize, type Stream } from './logs.ts'
import type { OutputSearch } from './monitoring.ts'

const CHUNK_BYTES = 64 * 1024

/** Searched again with the next read: a text may be split over two reads, and contain escape sequences. */
const OVERLAP_BYTES = 1024

const ESCAPE = 0x1b

interface Place {
  readonly stream: Stream
  offset: number
  /** The bytes read last, before `offset`. */
  overlap: Buffer
}

export class OutputMatcher implements OutputSearch {
  readonly #directory: string
  /** Each text with its bytes, because output without escape sequences need not be decoded. */
  readonly #missing: Map<string, Buffer>
  readonly #onFound: (text: string) => void
  readonly #overlapBytes: number
  readonly #places: readonly Place[] = (['stdout', 'stderr'] as const).map((stream) => ({
    stream,
    offset: 0,
    overlap: Buffer.alloc(0),
  }))

  /** @param onFound called at most once for each text; must not throw */
  constructor(directory: string, texts: readonly string[], onFound: (text: string) => void) {
    this.#directory = directory
    this.#missing = new Map(texts.map((text) => [text, Buffer.from(text)]))
    this.#onFound = onFound
    this.#overlapBytes = OVERLAP_BYTES + Math.max(0, ...texts.map((text) => Buffer.byteLength(text)))
  }

  /** Whether every text has been found. */
  get isDone(): boolean {
    return this.#missing.size === 0
  }

  hasReached(sizes: Readonly<Record<Stream, number>>): boolean {
    return this.#places.every(({ stream, offset }) => sizes[stream] <= offset)
  }

  search(maxBytes: number): void {
    for (const place of this.#places) {
      if (this.isDone) return
      if (logSize(this.#directory, place.stream) > place.offset) this.#lookAt(place, place.offset + maxBytes)
    }
  }

  #lookAt(place: Place, until: number): void {
    const file = openSync(logPath(this.#directory, place.stream), 'r')
    const buffer = Buffer.alloc(this.#overlapBytes + CHUNK_BYTES)
    let kept = place.overlap.copy(buffer)
    try {
      while (!this.isDone && place.offset < until) {
        const length = readSync(file, buffer, kept, CHUNK_BYTES, place.offset)
        if (length === 0) break
        place.offset += length
        const end = kept + length
        this.#find(buffer.subarray(0, end))
        kept = Math.min(end, this.#overlapBytes)
        buffer.copyWithin(0, end - kept, end)
      }
    } finally {
      place.overlap = Buffer.from(buffer.subarray(0, kept))
      closeSync(file)
    }
  }

  #find(output: Buffer): void {
    const plain = output.includes(ESCAPE) ? stripVTControlCharacters(output.toString()) : output
    for (const [text, bytes] of this.#missing) {
      if (typeof plain === 'string' ? !plain.includes(text) : !plain.includes(bytes)) continue
      this.#missing.delete(text)
      this.#onFound(text)
    }
  }
}
