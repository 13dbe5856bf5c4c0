/**
 * Declares and parses options. Each is declared once, with its schema, its default and its meaning; `scripts/options.ts`
 * makes from that the types, the table in docs/options.md and the schema for editors.
 *
 * Only an invalid value falls back to its default, and `problems` names it. An option must never prevent the plugin from
 * loading, because OpenCode would not report why the plugin is missing (contract 14.1).
 */
import leven from 'leven'
import { closest } from './text/closest.ts'
import * as z from 'zod/mini'
import { englishLocale } from './text/zod-locale.ts'
import { brief } from './text/sanitize.ts'

/** The meaning of each option, in Markdown. */
export const meanings = z.registry<{ readonly description: string }>()

/**
 * Declares an option that may be omitted.
 *
 * @param meaning one line for the table in docs/options.md, in Markdown; absent in a bundle
 */
export function option<Schema extends z.ZodMiniType>(
  schema: Schema,
  byDefault: z.output<Schema>,
  meaning: string | undefined,
) {
  const optional = z._default(schema, byDefault as never)
  if (meaning !== undefined) meanings.add(optional, { description: meaning })
  return optional
}

/** Declares a group of options, each of which may be omitted. */
export function group<Shape extends z.core.$ZodShape>(shape: Shape) {
  return z.prefault(z.strictObject(shape), {} as never)
}

export interface Parsed<Options> {
  readonly options: Options
  /** One sentence for each invalid or unknown option. */
  readonly problems: readonly string[]
}

/** Parses the options of a user. Never throws. */
export function parseAs<Schema extends z.ZodMiniType>(
  schema: Schema,
  input: unknown,
): Parsed<z.output<Schema>> {
  const problems: string[] = []
  let remaining: unknown = input ?? {}
  for (;;) {
    const result = schema.safeParse(remaining, englishLocale)
    if (result.success) return { options: result.data, problems }
    for (const issue of result.error.issues) {
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          remaining = without(remaining, [...issue.path, key])
          problems.push(unknownText(schema, issue.path, key))
        }
        continue
      }
      const { path, message } = issue
      remaining = path.length === 0 ? {} : without(remaining, path)
      problems.push(`${path.length === 0 ? 'options' : nameOf(path)}: ${message}; the default is used`)
    }
  }
}

/** The edit distance at which a key no longer counts as a misspelled option. */
const FAR = 4

/** Limit of a key's length in a problem, because the terminal shows it and a user can write any key. */
const KEY_LENGTH = 60

/** Describes an unknown option, and suggests the nearest known one. */
function unknownText(schema: z.ZodMiniType, path: readonly PropertyKey[], key: string): string {
  const known = path.reduce<unknown>(
    (found, name) => (found as Record<PropertyKey, unknown> | undefined)?.[name],
    schema.parse({}),
  )
  // The defaults have no entry of a record.
  if (typeof known !== 'object' || known === null) return `${nameOf([...path, key])}: there is no such option`
  const near = closest(key, Object.keys(known))
  const hint = nestedText(known, key) ?? (leven(key, near) < FAR ? nameOf([...path, near]) : '')
  return `${nameOf([...path, key])}: there is no such option${hint === '' ? '' : `; did you mean ${hint}?`}`
}

/** Returns how to write an option of a group that was given with dots, as docs/options.md names it. */
function nestedText(known: object, key: string): string | undefined {
  const [first = '', ...rest] = key.split('.')
  const inside: unknown = Object.hasOwn(known, first) ? Reflect.get(known, first) : undefined
  if (rest.length === 0 || typeof inside !== 'object' || inside === null) return undefined
  const inner = rest.join('.')
  return `"${first}": { ${nestedText(inside, inner) ?? `"${brief(inner, KEY_LENGTH)}": …`} }`
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.map((key) => brief(String(key), KEY_LENGTH)).join('.')
}

/** Returns a copy without the value at the path. It does not clone, because the user's object may hold any value. */
function without(target: unknown, [key, ...rest]: readonly PropertyKey[]): unknown {
  if (typeof target !== 'object' || target === null || key === undefined) return target
  const copy: Record<PropertyKey, unknown> = { ...target }
  if (rest.length === 0) Reflect.deleteProperty(copy, key)
  else copy[key] = without(copy[key], rest)
  return copy
}
