/** Texts in the cells of a terminal. Pure. */
import stringWidth from 'string-width'
import { oneLine } from '../text/sanitize.ts'

const characters = new Intl.Segmenter()

/** How many cells a text takes. */
export function widthOf(text: string): number {
  return stringWidth(text)
}

/** A text on one line of at most `width` cells; a longer one ends in `…`. No more of it is measured than that takes. */
export function truncate(text: string, width: number): string {
  const line = oneLine(text)
  let kept = ''
  let used = 0
  for (const { segment } of characters.segment(line)) {
    used += widthOf(segment)
    if (used > width) return width < 1 ? '' : `${kept.trimEnd()}…`
    if (used < width) kept += segment
  }
  return line
}
