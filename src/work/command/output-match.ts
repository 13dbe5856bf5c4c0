/** Looks for literal texts in the output of a command, in both streams from their beginnings. */
import { closeSync, openSync, readSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { logPath, logSize, type Stream } from './files.ts'

const CHUNK_BYTES = 64 * 1024

/** Looked at again with what follows: a text may be split over two reads, and have escape sequences in it. */
const OVERLAP_BYTES = 1024

const ESCAPE = 0x1b

interface Place {
  readonly stream: Stream
  offset: number
  /** What was read last, before `offset`. */
  overlap: Buffer
}

export class OutputMatcher {
  readonly #directory: string
  /** Each text with its bytes: where no escape sequences are, nothing needs to be decoded. */
  readonly #missing: Map<string, Buffer>
  readonly #onFound: (text: string) => void
  readonly #overlapBytes: number
  readonly #places: readonly Place[] = (['stdout', 'stderr'] as const).map((stream) => ({
    stream,
    offset: 0,
    overlap: Buffer.alloc(0),
  }))

  /** `onFound` is called once at most for each text. */
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

  /** Whether so much of each stream was looked at. */
  hasReached(sizes: Readonly<Record<Stream, number>>): boolean {
    return this.#places.every(({ stream, offset }) => sizes[stream] <= offset)
  }

  /** Looks at what has been written since, but at no more than so much of each stream: nothing else goes on meanwhile. */
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
