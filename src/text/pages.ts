/**
 * Splits long texts into pages, because the host cuts off the end of a tool's answer beyond its limit
 * (contract 11.7). Offsets count bytes of UTF-8. Pure.
 */
import { sanitizeForModel } from './sanitize.ts'

/** A section of a text or file that begins at `offset`. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly offset: number
  /** The size of the whole text. */
  readonly size: number
}

export interface Page {
  readonly text: string
  /** The offset of the next page. */
  readonly next: number
}

export interface PageLimits {
  /** The limit after sanitizing, which can make a character longer. */
  readonly bytes: number
  readonly lines: number
}

const NEWLINE = 0x0a

/** Returns a piece's first page: whole characters, and whole lines where these fill at least half of it. */
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

/** Returns the beginning and the end of a text that exceeds the limits, with `marker` between them. */
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
  // The halves can cover the whole text, because a tag across their border is escaped, and so longer, only in the whole text.
  if (from === head.next) return text
  const leftOut = marker(from - head.next, head.next)
  return `${head.text.replace(/\n$/, '')}\n${leftOut}\n${textOf(bytes.subarray(from))}`
}

/** Returns the end of a text within the limits, and the number of bytes before it. */
export function tailOf(
  text: string,
  limits: PageLimits,
): { readonly text: string; readonly leftOutBytes: number } {
  const bytes = Buffer.from(text)
  const start = tailStart(bytes, limits)
  return { text: textOf(bytes.subarray(start)), leftOutBytes: start }
}

/** Returns the offset from which the end of a text is within the limits. */
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

/** Returns the offset of the line before the one at `before`. */
function lineStart(bytes: Uint8Array, before: number): number {
  return before < 2 ? 0 : bytes.lastIndexOf(NEWLINE, before - 2) + 1
}

/** Returns the end of the page that begins at `start` and ends at `end` at the latest. */
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

/** Returns the offset of the first whole character. */
function beginning(bytes: Uint8Array): number {
  let start = 0
  while (start < 3 && isInside(bytes[start])) start++
  return start
}

/** Returns the end of the last whole character before `end`. */
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

/** Returns the size after sanitizing. */
function sizeOf(text: string): number {
  return Buffer.byteLength(sanitizeForModel(text))
}
