/**
 * Cleans texts from outside (answers, errors, titles, labels, outputs) where they are shown: `sanitize` for a
 * terminal, `sanitizeForModel` for a model. Prompts, commands and patterns are executed, so that they are
 * stored and sent unchanged. Pure.
 */
import stripAnsi from 'strip-ansi'

/**
 * Removes escape sequences. Escapes each other control character except newline and tab, and each direction
 * mark, which would reorder the shown text (`\x00`, `\u202e`). Replaces half a surrogate pair with U+FFFD.
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

/** Escapes each control character and direction mark, for a person who must see all of a text before it takes effect. */
export function escapeControls(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Bidi_Control}/gu, escaped)
}

/** Sanitizes a text, and escapes the tags of messages from OpenCode and this plugin. Code stays unchanged. */
export function sanitizeForModel(text: string): string {
  return sanitize(text)
    .replaceAll(/<(?=\s*(?:\/\s*)?(?:background_task|system[-_]reminder|task_(?:result|error))\b)/gi, '&lt;')
    .replaceAll(/<(?=task\s+[\w-]+=|\/task\s*>)/g, '&lt;')
}

/** Escapes the tags of notices too, so that a child's text cannot end or begin an element; types such as `Partial` stay. */
export function sanitizeForElement(text: string): string {
  return sanitizeForModel(text)
    .replaceAll(/<(?=\s*\/\s*(?:result|partial|error|question)\b)/gi, '&lt;')
    .replaceAll(/<(?=(?:result|partial|error|question)\b)/g, '&lt;')
}

/** Sanitizes a text onto one line. */
export function oneLine(text: string): string {
  return sanitize(text).replaceAll(/\s+/g, ' ').trim()
}

/** Returns one line of at most `length` characters (not cells); a longer one ends in `…`. */
export function brief(text: string, length: number): string {
  const characters = Array.from(oneLine(text))
  if (characters.length <= length) return characters.join('')
  return `${characters.slice(0, length - 1).join('')}…`
}

/** The maximum length of a shown name: a description, a matched text, a permission request. */
const NAME_LENGTH = 200

/** Returns a name for a model: on one line, bounded, with tags escaped. */
export function nameForModel(text: string): string {
  return sanitizeForModel(brief(text, NAME_LENGTH))
}
