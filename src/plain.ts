/** Texts of others without what would move the cursor of a terminal. Pure. */
import stripAnsi from 'strip-ansi'

/**
 * Without what a terminal takes for an order: sequences, and each control character but line ends and tabs; and without
 * marks of direction, which show a text in another order than it has.
 */
export function plain(text: string): string {
  return stripAnsi(text)
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{Cc}\n\t]|\p{Bidi_Control}/gu, '')
}

/** On one line. */
export function oneLine(text: string): string {
  return plain(text).replaceAll(/\s+/g, ' ').trim()
}

/** A text on one line of at most so many characters, where cells do not count; a longer one ends in `…`. */
export function brief(text: string, length: number): string {
  const characters = Array.from(oneLine(text))
  if (characters.length <= length) return characters.join('')
  return `${characters.slice(0, length - 1).join('')}…`
}
