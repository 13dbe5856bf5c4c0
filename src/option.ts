/**
 * How options are declared and parsed. Each is declared in one place, with its schema, its default and its meaning, from
 * which the types, the table in the README and the schema for editors are made (`scripts/options.ts`).
 *
 * A bad value falls back to its own default, alone, and is named in `problems`: an option must never keep the plugin
 * from loading, because the host would not say why it is missing (contract 14.1).
 */
import { closest, distance } from 'fastest-levenshtein'
import * as z from 'zod/mini'
import { englishLocale } from './text/zod-locale.ts'
import { brief } from './text/sanitize.ts'

/** What each option means, in Markdown. */
export const meanings = z.registry<{ readonly description: string }>()

/**
 * An option that may be left out.
 *
 * @param meaning one line for the README's table, in Markdown
 */
export function option<Schema extends z.ZodMiniType>(
  schema: Schema,
  byDefault: z.output<Schema>,
  meaning: string,
) {
  const optional = z._default(schema, byDefault as never)
  meanings.add(optional, { description: meaning })
  return optional
}

/** Options that belong together, each of which may be left out. */
export function group<Shape extends z.core.$ZodShape>(shape: Shape) {
  return z.prefault(z.strictObject(shape), {} as never)
}

export interface Parsed<Options> {
  readonly options: Options
  /** One sentence for each option that was not understood. */
  readonly problems: readonly string[]
}

/** Parses what a user wrote. Never throws. */
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

/** Further from each of our names than this, a key is not meant as one of them. */
const FAR = 4

/** A key is whatever somebody wrote, and is shown in the terminal. */
const KEY_LENGTH = 60

/** Names an unknown option, and the nearest known one. */
function unknownText(schema: z.ZodMiniType, path: readonly PropertyKey[], key: string): string {
  const known = path.reduce<unknown>(
    (found, name) => (found as Record<PropertyKey, unknown>)[name],
    schema.parse({}),
  )
  const near = closest(key, Object.keys(known as object))
  const hint = nestedText(known as object, key) ?? (distance(key, near) < FAR ? nameOf([...path, near]) : '')
  return `${nameOf([...path, key])}: there is no such option${hint === '' ? '' : `; did you mean ${hint}?`}`
}

/** An option of a group, which the README names with dots: how it is written. */
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

/** A copy without what is at the path. The user's own object stays as it is, and may hold what cannot be cloned. */
function without(target: unknown, [key, ...rest]: readonly PropertyKey[]): unknown {
  if (typeof target !== 'object' || target === null || key === undefined) return target
  const copy: Record<PropertyKey, unknown> = { ...target }
  if (rest.length === 0) Reflect.deleteProperty(copy, key)
  else copy[key] = without(copy[key], rest)
  return copy
}
