/**
 * English messages for parse errors, because `zod/mini` has none. They are a part of zod's own messages, all of which would be 1 %
 * of the plugin's code.
 */
import type { core } from 'zod/mini'

/** The units of values that have a size. */
const UNITS = { string: 'characters', array: 'items' }

type Issue = Parameters<core.$ZodErrorMap>[0]

export const englishLocale = { error: messageOf }

function messageOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `Invalid input: expected ${issue.expected}, received ${typeNameOf(issue.input)}`
    case 'invalid_value': {
      const values = issue.values.map((value) => JSON.stringify(value))
      return values.length === 1
        ? `Invalid input: expected ${values[0]}`
        : `Invalid option: expected one of ${values.join('|')}`
    }
    case 'too_big':
      return `Too big: expected ${issue.origin} to ${sized(issue.origin, `<${issue.inclusive ? '=' : ''}${issue.maximum}`)}`
    case 'too_small':
      return `Too small: expected ${issue.origin} to ${sized(issue.origin, `>${issue.inclusive ? '=' : ''}${issue.minimum}`)}`
    default:
      return 'Invalid input'
  }
}

function sized(origin: string, range: string): string {
  return origin in UNITS ? `have ${range} ${UNITS[origin as keyof typeof UNITS]}` : `be ${range}`
}

function typeNameOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : Number.isNaN(value) ? 'NaN' : typeof value
}
