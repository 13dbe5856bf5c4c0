/**
 * Long texts, a page at a time: an answer of a tool holds only so much, past which the host would cut its end off (contract
 * 11.7). Offsets count bytes of UTF-8. Pure.
 */
import { sanitizeForModel } from './sanitize.ts'

/** Some of a text, or of a file, from `offset` on. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly offset: number
  /** Of the whole. */
  readonly size: number
}

export interface Page {
  readonly text: string
  /** Where the next page begins. */
  readonly next: number
}

export interface PageLimits {
  /** Of the text as a model reads it, in which a character can take more than in the source. */
  readonly bytes: number
  readonly lines: number
}

const NEWLINE = 0x0a

/** As much of a piece as one page holds, with whole characters, and whole lines where that leaves at least half of it. */
export function pageOf({ bytes, offset, size }: Piece, limits: PageLimits): Page {
  const start = offset === 0 ? 0 : beginning(bytes)
  let end = Math.min(bytes.length, start + limits.bytes)
  for (;;) {
    end = ending(bytes, start, end, { lines: limits.lines, isLast: offset + end === size })
    const text = textOf(bytes.subarray(start, end))
    if (sizeOf(text) <= limits.bytes) return { text, next: offset + end }
    end = start + Math.floor((end - start) / 2)
  }
}

/** The first and the last of a text that does not fit, and between them what `marker` says of the rest. */
export function ends(
  text: string,
  limits: PageLimits,
  marker: (leftOutBytes: number, offset: number) => string,
): string {
  const bytes = Buffer.from(text)
  const whole = { bytes, offset: 0, size: bytes.length }
  if (pageOf(whole, limits).next === bytes.length) return text
  const half = { bytes: Math.floor(limits.bytes / 2), lines: Math.floor(limits.lines / 2) }
  const head = pageOf(whole, half)
  const from = Math.max(head.next, tailStart(bytes, half))
  // Both ends together are all of it: apart, a tag across them has nothing to be made harmless.
  if (from === head.next) return text
  const leftOut = marker(from - head.next, head.next)
  return `${head.text.replace(/\n$/, '')}\n${leftOut}\n${textOf(bytes.subarray(from))}`
}

/** The last of a text that fits, and how many bytes come before it. */
export function tailOf(
  text: string,
  limits: PageLimits,
): { readonly text: string; readonly leftOutBytes: number } {
  const bytes = Buffer.from(text)
  const start = tailStart(bytes, limits)
  return { text: textOf(bytes.subarray(start)), leftOutBytes: start }
}

/** Where the last of a text begins that is no more than this. */
function tailStart(bytes: Uint8Array, limits: PageLimits): number {
  let start = Math.max(0, bytes.length - limits.bytes)
  let line = bytes.length
  for (let count = 0; count < limits.lines && line > start; count++) line = lineStart(bytes, line)
  start = Math.max(start, line)
  for (;;) {
    start += beginning(bytes.subarray(start))
    if (sizeOf(textOf(bytes.subarray(start))) <= limits.bytes) return start
    start += Math.ceil((bytes.length - start) / 2)
  }
}

/** Where the line before this one begins. */
function lineStart(bytes: Uint8Array, before: number): number {
  return before < 2 ? 0 : bytes.lastIndexOf(NEWLINE, before - 2) + 1
}

/** Where the page ends that begins at `start` and may go as far as `end`. */
function ending(
  bytes: Uint8Array,
  start: number,
  end: number,
  { lines, isLast }: { readonly lines: number; readonly isLast: boolean },
): number {
  let line = start
  for (let count = 0; count < lines; count++) {
    const newline = bytes.indexOf(NEWLINE, line)
    if (newline === -1 || newline >= end) {
      if (!isLast && line - start >= (end - start) / 2) return line
      const whole = withoutHalf(bytes, end)
      return whole > start ? whole : end
    }
    line = newline + 1
  }
  return line
}

/** Where the first whole character begins. */
function beginning(bytes: Uint8Array): number {
  let start = 0
  while (start < 3 && isInside(bytes[start])) start++
  return start
}

/** The end of the last whole character before `end`. */
function withoutHalf(bytes: Uint8Array, end: number): number {
  let first = end - 1
  while (first > end - 4 && isInside(bytes[first])) first--
  const lead = bytes[first] ?? 0
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
  return first + length > end ? first : end
}

function isInside(byte = 0): boolean {
  return (byte & 0xc0) === 0x80
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** As a model reads it. */
function sizeOf(text: string): number {
  return Buffer.byteLength(sanitizeForModel(text))
}
