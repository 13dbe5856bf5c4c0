/** Texts in the cells of a terminal. Pure. */

// Of East Asian scripts and pictures each character takes two cells.
const WIDE =
  /[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE4F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}/u
const ESCAPE = '\u001B'
// What follows it: colours and the like; titles and links; the rest.
const ORDER = /^(?:\[[0-?]*[ -/]*[@-~]|\]\P{Cc}*\p{Cc}?|[@-Z\\^_])/u
const NO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]$/u

/** How many cells a text takes. */
export function widthOf(text: string): number {
  let cells = 0
  for (const character of text) cells += cellsOf(character)
  return cells
}

/** Without what a terminal takes for an order: sequences, and each control character but line ends and tabs. */
export function plain(text: string): string {
  const [first = '', ...orders] = text.split(ESCAPE)
  return [first, ...orders.map((order) => order.replace(ORDER, ''))]
    .join('')
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{Cc}\n\t]/gu, '')
}

/** On one line: what would move the cursor gives way to blanks. */
function oneLine(text: string): string {
  return plain(text).replaceAll(/\s+/g, ' ').trim()
}

/** A text on one line of at most so many characters, where cells do not count; a longer one ends in `…`. */
export function brief(text: string, length: number): string {
  const characters = Array.from(oneLine(text))
  if (characters.length <= length) return characters.join('')
  return `${characters.slice(0, length - 1).join('')}…`
}

/** A text on one line of at most `width` cells; a longer one ends in `…`. */
export function fit(text: string, width: number): string {
  const line = oneLine(text)
  if (widthOf(line) <= width) return line
  let kept = ''
  let used = 0
  for (const character of line) {
    used += cellsOf(character)
    if (used > width - 1) break
    kept += character
  }
  return width < 1 ? '' : `${kept.trimEnd()}…`
}

function cellsOf(character: string): number {
  if (NO_WIDTH.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}
