/**
 * How options are declared and parsed. Each is declared in one place, with its schema, its default and its meaning, from
 * which the types, the table in the README and the schema for editors are made (`scripts/options.ts`).
 *
 * A bad value falls back to its own default, alone, and is named in `problems`: an option must never keep the plugin
 * from loading, because the host would not say why it is missing (TUI notes, section 1).
 */
import { closest, distance } from 'fastest-levenshtein'
import * as z from 'zod/mini'
import { inEnglish } from './english.ts'

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
  let remaining: unknown = structuredClone(input ?? {})
  for (;;) {
    const result = schema.safeParse(remaining, inEnglish)
    if (result.success) return { options: result.data, problems }
    for (const issue of result.error.issues) {
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          remove(remaining, [...issue.path, key])
          problems.push(unknownText(schema, issue.path, key))
        }
        continue
      }
      const { path, message } = issue
      if (path.length === 0) remaining = {}
      else remove(remaining, path)
      problems.push(`${path.length === 0 ? 'options' : path.join('.')}: ${message}; the default is used`)
    }
  }
}

/** Further from each of our names than this, a key is not meant as one of them. */
const FAR = 4

/** Names an unknown option, and the nearest known one. */
function unknownText(schema: z.ZodMiniType, path: readonly PropertyKey[], key: string): string {
  const known = path.reduce<unknown>(
    (found, name) => (found as Record<PropertyKey, unknown>)[name],
    schema.parse({}),
  )
  const near = closest(key, Object.keys(known as object))
  const named = (name: string): string => [...path, name].join('.')
  const hint = distance(key, near) < FAR ? `; did you mean ${named(near)}?` : ''
  return `${named(key)}: there is no such option${hint}`
}

function remove(target: unknown, path: readonly PropertyKey[]): void {
  const [key, ...rest] = path
  if (typeof target !== 'object' || target === null || key === undefined) return
  if (rest.length === 0) Reflect.deleteProperty(target, key)
  else remove(Reflect.get(target, key), rest)
}
