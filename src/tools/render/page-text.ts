/** Renders pages of a long text, with a pointer to the rest. Pure. */
import { ends, pageOf, type Piece } from '../../text/pages.ts'

/** Below the host's limits of 51,200 bytes and 2000 lines, beyond which it cuts off the end (contract 11.7). */
export const PAGE = { bytes: 48_000, lines: 1900 }

/** Returns both ends of a text, with the offset of the rest. */
export function endsText(text: string): string {
  return ends(
    text,
    PAGE,
    (bytes, offset) => `[… ${bytes} bytes left out; offset: ${offset} shows what comes here …]`,
  )
}

/** Returns one page, with the offset of the next. */
export function pageText(piece: Piece): { readonly text: string; readonly after: string } {
  const { offset, size } = piece
  if (offset >= size) return { text: '', after: `[nothing at offset ${offset}: the size is ${size} bytes]` }
  const { text, next } = pageOf(piece, PAGE)
  const isMore = next < size
  return {
    text,
    after: isMore ? `[… ${size - next} more bytes: offset: ${next} …]` : `[its end, at ${size} bytes]`,
  }
}
