/** Reads the question with which an agent ends its answer, for the session that launched it. Pure. */

/** The question, and the answer before it: '' if the agent only asks. */
export interface Asked {
  readonly question: string
  readonly rest: string
}

/** Tells an agent how to ask. It is the `system` text of each prompt, so that the prompt itself stays as it was written. */
export const HOW_TO_ASK =
  'You cannot ask the user. If you need an answer to go on, end your final answer with <question>…</question>, outside ' +
  'of code: the session that gave you this task reads it, and answers here.'

/** A longer paragraph before a question is not searched for inline code, so that no answer takes long to read. */
const PARAGRAPH_LENGTH = 16_000
const FENCE = /^ {0,3}(`{3,}(?!.*`)|~{3,})/
const INLINE = /(?<!`)(`+)(?!`)(?:(?!\n[ \t]*\n)[^])+?(?<!`)\1(?!`)/g
const TAG = /<(\/?)question>/gi
/** Markdown and blanks that may follow the element. */
const MARKS = /^[\s*_-]*$/

/** Returns the question that ends an answer; `undefined` for none, and for one in code, a nested or an empty one. */
export function questionIn(answer: string): Asked | undefined {
  const text = answer.trimEnd()
  // Most answers end otherwise.
  if (!/<\/question>[\s*_-]*$/i.test(text.slice(-100))) return undefined
  const tags = [...proseOf(text).matchAll(TAG)]
  const isOpening = (tag: RegExpExecArray | undefined): boolean => tag?.[1] === ''
  const [open, close] = tags.slice(-2)
  if (!open || !close || !isOpening(open) || isOpening(close)) return undefined
  const isNested =
    tags.slice(0, -2).reduce((depth, tag) => Math.max(0, depth + (isOpening(tag) ? 1 : -1)), 0) > 0
  const question = text.slice(open.index + open[0].length, close.index).trim()
  const isLast = MARKS.test(text.slice(close.index + close[0].length))
  if (isNested || !isLast || !/[\p{L}\p{N}]/u.test(question)) return undefined
  return { question, rest: withoutMarks(text.slice(0, open.index)) }
}

/** Replaces code by blanks of the same length. */
function proseOf(text: string): string {
  const blank = (code: string): string => ' '.repeat(code.length)
  let fence = ''
  const lines = text.split('\n').map((line) => {
    const mark = FENCE.exec(line)?.[1] ?? ''
    const isCode = fence !== '' || mark !== ''
    if (fence === '') fence = mark
    else if (mark.startsWith(fence) && line.trim() === mark) fence = ''
    return isCode ? blank(line) : line
  })
  const prose = lines.join('\n')
  const begin = Math.max(0, prose.length - PARAGRAPH_LENGTH)
  return prose.slice(0, begin) + prose.slice(begin).replace(INLINE, blank)
}

/** Removes the Markdown before the element that belonged to it, as `**` or `> `. */
function withoutMarks(text: string): string {
  const line = text.slice(text.lastIndexOf('\n') + 1)
  const kept = /^[\s>#*_-]*$/.test(line)
    ? text.slice(0, text.length - line.length)
    : text.replace(/[*_]{1,3}$/, '')
  return kept.trimEnd()
}
