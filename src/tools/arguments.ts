/**
 * Normalises the arguments that a model writes: the host checks none of them (contract 11.5), and each refusal costs a
 * turn. docs/arguments.md has the table. Pure.
 *
 * - Accepts names in any case, with or without underscores, and the aliases below. One argument under two names must have
 *   one value.
 * - Omits `null`, `""` and blanks, also as the entry of a list.
 * - Accepts numbers and booleans as texts, a text where a list is expected, also as JSON, a list of one where one value is
 *   expected, and a choice in any case.
 */
import { isDeepStrictEqual } from 'node:util'
import leven from 'leven'
import { closest } from '../text/closest.ts'
import type * as z from 'zod/mini'
import { brief } from '../text/sanitize.ts'

/** Other names that models use for an argument of a tool. A `Map`, because a model may write `constructor`. */
export const ALIASES: ReadonlyMap<string, readonly string[]> = new Map([
  // As in OpenCode's own task and bash tools.
  ['subagenttype', ['agent']],
  ['workdir', ['cwd']],
  ['workingdirectory', ['cwd']],
  ['directory', ['cwd']],
  ['subagent', ['agent']],
  ['agentname', ['agent']],
  ['agenttype', ['agent']],
  ['id', ['task_id']],
  ['task', ['task_id']],
  ['title', ['description', 'label']],
  ['name', ['description', 'label']],
  ['description', ['label']],
  ['label', ['description']],
  ['cmd', ['command']],
  ['timeoutms', ['timeout']],
  ['tail', ['tail_lines']],
  ['lines', ['tail_lines']],
  ['limit', ['message_limit']],
  ['dependson', ['after']],
  ['waitfor', ['after']],
])

/** A `task` that does not match this names the work. */
const LIKE_AN_ID = /^\W*(?:(?:bg|ses)_\w+|[0-9a-f]{8})\W*$/i
const NAME_OF_WORK = ['description', 'label', 'task_id']

/** Flags of other tools for behaviour that our tools always have. */
const GIVEN_ANYHOW: ReadonlySet<string> = new Set(['runinbackground', 'isbackground', 'background'])

/** Arguments whose value is a name, for which `none` means that it is omitted. */
const NAMES: ReadonlySet<string> = new Set(['task_id', 'agent', 'model'])

/** The edit distance from which an unknown name gets no suggestion. */
const FAR = 4
/** How many characters of an unknown name are shown. */
const NAME_LENGTH = 60

export interface Given {
  /** The values by argument name, as the schema expects them. */
  readonly values: Readonly<Record<string, unknown>>
  /** A sentence for each argument that the tool does not have. */
  readonly unknown: readonly string[]
  /** A sentence for each argument that has two different values. */
  readonly clashes: readonly string[]
}

interface Taken {
  /** The name that the model wrote. */
  readonly given: string
  readonly value: unknown
}

/** Maps the input of a model to the arguments of a tool. */
export function takeArguments(input: unknown, shape: z.core.$ZodShape): Given {
  const names = Object.keys(shape)
  const byKey = new Map(names.map((name) => [keyOf(name), name]))
  const taken = new Map<string, Taken>()
  const unknown: string[] = []
  const clashes: string[] = []
  for (const [given, written] of Object.entries(objectOf(input))) {
    const key = keyOf(given)
    const name = byKey.get(key) ?? aliasesOf(key, written).find((alias) => names.includes(alias))
    if (name === undefined) {
      if (!isEmpty(written) && !(GIVEN_ANYHOW.has(key) && booleanOf(written) === true))
        unknown.push(unknownText(given, names))
      continue
    }
    const inside = shapeOf(shape[name])
    const group = inside && isObject(written) ? takeArguments(written, inside) : undefined
    unknown.push(...(group?.unknown ?? []).map((text) => `${name}.${text}`))
    clashes.push(...(group?.clashes ?? []))
    const value = group ? group.values : coerced(written, shape[name])
    if (isEmpty(value) || isNothing(value, name, shape[name])) continue
    const before = taken.get(name)
    if (!before) taken.set(name, { given, value })
    else if (!isDeepStrictEqual(before.value, value)) clashes.push(clashText(before.given, given, name))
  }
  const values = Object.fromEntries([...taken].map(([name, { value }]) => [name, value]))
  return { values, unknown, clashes }
}

function aliasesOf(key: string, value: unknown): readonly string[] {
  if (key === 'task' && !(typeof value === 'string' && LIKE_AN_ID.test(value))) return NAME_OF_WORK
  return ALIASES.get(key) ?? []
}

function keyOf(name: string): string {
  return name.toLowerCase().replaceAll(/[_\-\s]/g, '')
}

/** Returns the input as an object: some models write it as a JSON text. */
function objectOf(input: unknown): object {
  const read = typeof input === 'string' ? parsed(input) : input
  return typeof read === 'object' && read !== null && !Array.isArray(read) ? read : {}
}

/** Whether a value is an object, or a JSON text of one. */
function isObject(value: unknown): boolean {
  return Object.keys(objectOf(value)).length > 0
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || (typeof value === 'string' && value.trim() === '')
}

/** Whether the value is a text such as `null`, for an argument that cannot mean that text. */
function isNothing(value: unknown, name: string, schema: z.core.$ZodType | undefined): boolean {
  if (typeof value !== 'string') return false
  if (NAMES.has(name)) return /^\s*(?:null|undefined|none)\s*$/i.test(value)
  const { type } = innermost(schema) ?? {}
  return type !== 'string' && type !== 'array' && /^\s*(?:null|undefined)\s*$/i.test(value)
}

function unknownText(given: string, names: readonly string[]): string {
  const near = closest(given, [...names])
  const hint =
    leven(keyOf(given), keyOf(near)) < FAR ? `did you mean ${near}?` : `it has ${names.join(', ')}.`
  return `${brief(given, NAME_LENGTH)}: there is no such argument; ${hint}`
}

function clashText(first: string, second: string, name: string): string {
  const both = [first, second].map((given) => brief(given, NAME_LENGTH)).join(' and ')
  return `${both} are one argument, and have two values: give ${name} alone.`
}

function coerced(value: unknown, schema: z.core.$ZodType | undefined): unknown {
  const def = innermost(schema)
  if (def?.type === 'array')
    return (
      listOf(value)
        ?.map((item) => coerced(item, def.element))
        .filter((item) => !isEmpty(item)) ?? value
    )
  if (Array.isArray(value)) {
    const [only, ...others] = value as readonly unknown[]
    // The schema refuses several values.
    return others.length > 0 || Array.isArray(only) ? value : coerced(only, schema)
  }
  switch (def?.type) {
    case 'number':
      return typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value
    case 'boolean':
      return booleanOf(value)
    case 'enum':
      return typeof value === 'string' ? value.trim().toLowerCase() : value
    case 'string':
      return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
    default:
      return value
  }
}

function booleanOf(value: unknown): unknown {
  if (typeof value !== 'string') return value
  switch (value.trim().toLowerCase()) {
    case 'true':
    case 'yes':
      return true
    case 'false':
    case 'no':
      return false
    default:
      return value
  }
}

/** Returns the value as a list; `undefined` where it is neither a list nor an entry of one. */
function listOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value as readonly unknown[]
  if (typeof value === 'number') return [value]
  if (typeof value !== 'string') return undefined
  const list = value.trim().startsWith('[') ? parsed(value) : undefined
  return Array.isArray(list) ? (list as readonly unknown[]) : [value]
}

interface Definition {
  readonly type: string
  readonly innerType?: z.core.$ZodType
  /** The schema of a list's entries. */
  readonly element?: z.core.$ZodType
  /** The schemas of an object's fields. */
  readonly shape?: z.core.$ZodShape
}

/** Returns the fields of an argument that is an object; `undefined` for any other argument. */
function shapeOf(schema: z.core.$ZodType | undefined): z.core.$ZodShape | undefined {
  return innermost(schema)?.shape
}

/** Returns the definition of a schema without its default and its optional wrapper. */
function innermost(schema: z.core.$ZodType | undefined): Definition | undefined {
  const def = schema?._zod.def as Definition | undefined
  return def?.innerType ? innermost(def.innerType) : def
}
