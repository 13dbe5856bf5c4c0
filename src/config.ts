/**
 * The options of the plugin: the second element of its tuple in opencode.json. A bad value falls back to its own
 * default, alone, and is named in `problems`: an option must never keep the plugin from loading, because the host
 * would not say why it is missing (TUI notes, section 1).
 */
import { closest, distance } from 'fastest-levenshtein'
import * as z from 'zod/mini'
import { inEnglish } from './english.ts'

const milliseconds = z.int().check(z.minimum(0), z.maximum(2 ** 31 - 1))

const slots = z.int().check(z.minimum(1))

/** What an option is when it is left out. What it means is said in `scripts/options-schema.ts`. */
function option<Schema extends z.ZodMiniType>(schema: Schema, byDefault: z.output<Schema>) {
  return z._default(schema, byDefault as never)
}

/** Options that belong together, each of which may be left out. */
function group<Shape extends z.core.$ZodShape>(shape: Shape) {
  return z.prefault(z.strictObject(shape), {} as never)
}

export const optionsSchema = z.strictObject({
  concurrency: group({
    total: option(slots, 10),
    providers: option(z.record(z.string(), slots), {}),
    models: option(z.record(z.string(), slots), {}),
    commands: option(slots, 10),
  }),
  maxTasksPerSession: option(slots, 100),
  notify: group({
    debounceMs: option(milliseconds, 200),
    inlineResultBytes: option(z.int().check(z.minimum(0)), 4096),
    wake: option(z.enum(['each', 'all', 'never']), 'each'),
  }),
  onInterrupt: option(z.enum(['keep', 'cancel']), 'keep'),
  startTimeoutMs: option(milliseconds.check(z.minimum(1000)), 60_000),
  timeoutMs: option(milliseconds, 0),
  stalledAfterMs: option(milliseconds, 300_000),
  permissionTimeoutMs: option(milliseconds, 0),
  pollMs: option(milliseconds.check(z.minimum(50)), 5000),
  commands: group({
    enabled: option(z.boolean(), true),
    timeoutMs: option(milliseconds, 300_000),
    maxOutputBytes: option(z.int().check(z.minimum(1024)), 1_000_000_000),
    killGraceMs: option(milliseconds, 5000),
  }),
  run: group({
    waitMs: option(milliseconds, 600_000),
  }),
  tmux: group({
    enabled: option(z.boolean(), false),
    layout: option(z.enum(['main-vertical', 'main-horizontal', 'tiled']), 'main-vertical'),
    size: option(z.int().check(z.minimum(20), z.maximum(90)), 60),
    limit: option(slots, 4),
  }),
  debug: option(z.boolean(), false),
})

export type Options = z.output<typeof optionsSchema>
export type OptionsInput = z.input<typeof optionsSchema>

export interface ParsedOptions {
  readonly options: Options
  /** One sentence for each option that was not understood. */
  readonly problems: readonly string[]
}

export function parseOptions(input: unknown): ParsedOptions {
  const problems: string[] = []
  let remaining: unknown = structuredClone(input ?? {})
  for (;;) {
    const result = optionsSchema.safeParse(remaining, inEnglish)
    if (result.success)
      return { options: result.data, problems: [...problems, ...idleClocks(remaining, result.data)] }
    for (const issue of result.error.issues) {
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          remove(remaining, [...issue.path, key])
          problems.push(unknownText(issue.path, key))
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

/** Names an option that there is not, and the nearest that there is in its place. */
function unknownText(path: readonly PropertyKey[], key: string): string {
  const known = path.reduce<unknown>(
    (found, name) => (found as Record<PropertyKey, unknown>)[name],
    optionsSchema.parse({}),
  )
  const near = closest(key, Object.keys(known as object))
  const named = (name: string): string => [...path, name].join('.')
  const hint = distance(key, near) < FAR ? `; did you mean ${named(near)}?` : ''
  return `${named(key)}: there is no such option${hint}`
}

/** Of the clocks that were set, those that can never ring, since the run is stopped before. */
function idleClocks(given: unknown, options: Options): string[] {
  const { timeoutMs } = options
  if (timeoutMs === 0 || typeof given !== 'object' || given === null) return []
  return (['startTimeoutMs', 'stalledAfterMs', 'permissionTimeoutMs'] as const)
    .filter((name) => Object.hasOwn(given, name) && options[name] >= timeoutMs)
    .map((name) => `${name}: is not shorter than timeoutMs (${timeoutMs}), so that it never acts`)
}

function remove(target: unknown, path: readonly PropertyKey[]): void {
  const [key, ...rest] = path
  if (typeof target !== 'object' || target === null || key === undefined) return
  if (rest.length === 0) Reflect.deleteProperty(target, key)
  else remove(Reflect.get(target, key), rest)
}
