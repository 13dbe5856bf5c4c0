/** The pages of a long text, with what an answer says of the rest. Pure. */
import * as z from 'zod/mini'
import { ends, pageOf, type Piece } from '../../text/pages.ts'
import { described } from '../tool.ts'

/** Below the host's own limits of 51,200 bytes and 2000 lines, past which it would cut the end off (contract 11.7). */
export const PAGE = { bytes: 48_000, lines: 1900 }

/** The argument, of all tools that have it. */
export const OFFSET = described(z.optional(z.int().check(z.minimum(0))), 'From this byte of it on')

/** Both ends of a text, and how to get what is between them. */
export function endsText(text: string): string {
  return ends(
    text,
    PAGE,
    (bytes, offset) => `[… ${bytes} bytes left out; offset: ${offset} shows what comes here …]`,
  )
}

/** One page, and how to get the next. */
export function pageText(piece: Piece): { readonly text: string; readonly after: string } {
  const { offset, size } = piece
  if (offset >= size)
    return { text: '', after: `[nothing from offset ${offset} on: there are ${size} bytes]` }
  const { text, next } = pageOf(piece, PAGE)
  const isMore = next < size
  return {
    text,
    after: isMore ? `[… ${size - next} more bytes: offset: ${next} …]` : `[its end, at ${size} bytes]`,
  }
}
