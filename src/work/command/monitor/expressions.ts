/**
 * Reads the entries of `notify_on` as regular expressions. RE2JS matches them in time linear in the line, so that no
 * expression can block this process. Pure.
 */
import { RE2JS } from 're2js'
import { brief } from '../../../text/sanitize.ts'
import { ToolError } from '../../../tool-error.ts'

const MOST_ENTRIES = 20
const LONGEST_ENTRY = 500
/** The limit of instructions of all entries together, because each is tried at each character in the worst case. */
const LARGEST_PROGRAM = 5000

const EXAMPLE = 'An entry is an expression of RE2, as "FAIL|ERROR" or "(?i)timed? out"'
const LITERAL = 'A special character as text has a backslash before it, as "\\(1\\)" or "\\[ERROR\\]".'

/** A class of three or more letters, without a range: almost always a text in brackets, such as `[ERROR]`. */
const WORD_IN_BRACKETS = /(?<!\\)\[[A-Za-z]{3,}\]/

/**
 * Returns one expression for all entries. It matches a line that one of the entries matches, or that contains the entry as it
 * is written, because models write texts such as `FAIL (1)`. Throws a `ToolError` for an entry that is no expression.
 */
export function expressionOf(entries: readonly string[]): RE2JS {
  if (entries.length === 0)
    throw new ToolError('notify_every: give notify_on with it, as ["FAIL|ERROR"]. Nothing was started.')
  if (entries.length > MOST_ENTRIES)
    throw new ToolError(`notify_on: at most ${MOST_ENTRIES} entries; join them with |. Nothing was started.`)
  for (const entry of entries) refuseBad(entry)
  const all = entries.map((entry) => `(?:${entry})|${RE2JS.quote(entry)}`).join('|')
  const expression = compiled(all, entries.join(', '))
  if (expression.programSize() > LARGEST_PROGRAM)
    throw refusal(entries.join(', '), 'too large: it repeats too much')
  return expression
}

function refuseBad(entry: string): void {
  if (entry.length > LONGEST_ENTRY)
    throw refusal(entry, `it must not be longer than ${LONGEST_ENTRY} characters`)
  compiled(entry, entry)
  const [word] = WORD_IN_BRACKETS.exec(entry) ?? []
  if (word !== undefined)
    throw refusal(
      entry,
      `${word} would match any one of these letters. Write "\\${word.slice(0, -1)}\\]" for the text`,
    )
}

function compiled(expression: string, shown: string): RE2JS {
  try {
    return RE2JS.compile(expression)
  } catch (error) {
    throw refusal(shown, error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : '')
  }
}

function refusal(entry: string, why: string): ToolError {
  return new ToolError(
    `notify_on: ${JSON.stringify(brief(entry, 80))}: ${brief(why, 120)}. ${EXAMPLE}. ${LITERAL} Nothing was started.`,
  )
}
