/**
 * Texts from outside: answers, errors, titles, labels, outputs. What is executed (prompts, commands, patterns) is stored
 * and sent as it is; these functions clean a text where it is shown, `plain` on a terminal and `forModel` to a model. Pure.
 */
import stripAnsi from 'strip-ansi'

/**
 * Without escape sequences. Each other control character but newline and tab, and each mark of direction, which shows a
 * text in another order than it has, stands as an escape (`\x00`, `\u202e`); half a surrogate pair as U+FFFD.
 */
export function sanitize(text: string): string {
  return stripAnsi(Buffer.from(text).toString())
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{Cc}\n\t]|\p{Bidi_Control}/gu, escaped)
}

function escaped(character: string): string {
  const code = character.charCodeAt(0).toString(16)
  return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u${code.padStart(4, '0')}`
}

/** Plain, and without tags by which OpenCode or a notice of ours speaks to a model; code stays as it is. */
export function sanitizeForModel(text: string): string {
  return sanitize(text)
    .replaceAll(/<(?=\s*(?:\/\s*)?(?:background_task|system[-_]reminder|task_(?:result|error))\b)/gi, '&lt;')
    .replaceAll(/<(?=task\s+[\w-]+=|\/task\s*>)/g, '&lt;')
}

/** On one line. */
export function oneLine(text: string): string {
  return sanitize(text).replaceAll(/\s+/g, ' ').trim()
}

/** A text on one line of at most so many characters, where cells do not count; a longer one ends in `…`. */
export function brief(text: string, length: number): string {
  const characters = Array.from(oneLine(text))
  if (characters.length <= length) return characters.join('')
  return `${characters.slice(0, length - 1).join('')}…`
}

/** How long what names a task is at most, where it is shown: its description, a matched text, what it waits for. */
const NAME_LENGTH = 200

/** A name for a model: on one line, bounded, and harmless. */
export function nameForModel(text: string): string {
  return sanitizeForModel(brief(text, NAME_LENGTH))
}
