/** Measures and truncates texts in terminal cells. Pure. */
import stringWidth from 'string-width'
import { oneLine } from '../text/sanitize.ts'

const characters = new Intl.Segmenter()

/** Returns the width of a text in cells. */
export function widthOf(text: string): number {
  return stringWidth(text)
}

/** Returns one line of at most `width` cells; a longer one ends in `…`. Only the part that fits is measured. */
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
