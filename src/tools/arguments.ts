/**
 * What a model may write in the arguments of a tool, taken as what it means: the host checks none of them (contract 11.5),
 * and each refusal costs a turn. The table of it is in docs/arguments.md. Pure.
 *
 * - Names in any case and with or without underscores, and the aliases below.
 * - `null`, `""` and blanks: the argument is left out.
 * - Numbers and booleans as texts; a text where a list is expected, also as JSON; a choice in any case.
 */
import { closest, distance } from 'fastest-levenshtein'
import type * as z from 'zod/mini'

/** Other names that models use for an argument, where a tool has it. */
export const ALIASES: Readonly<Record<string, readonly string[]>> = {
  // As in OpenCode's own task and bash tools.
  subagenttype: ['agent'],
  workdir: ['cwd'],
  workingdirectory: ['cwd'],
  directory: ['cwd'],
  subagent: ['agent'],
  agentname: ['agent'],
  agenttype: ['agent'],
  id: ['task_id'],
  task: ['task_id'],
  title: ['description', 'label'],
  name: ['description', 'label'],
  description: ['label'],
  label: ['description'],
  cmd: ['command'],
  timeoutms: ['timeout'],
  tail: ['tail_lines'],
  lines: ['tail_lines'],
  limit: ['message_limit'],
}

/** A name that is further from ours than this is not meant as one of them. */
const FAR = 4

export interface Given {
  /** By our names, as the schema expects them. */
  readonly values: Readonly<Record<string, unknown>>
  /** A sentence for each argument that the tool does not have. */
  readonly unknown: readonly string[]
}

/** Takes what a model has written for the arguments of a tool. */
export function takeArguments(input: unknown, shape: z.core.$ZodShape): Given {
  const names = Object.keys(shape)
  const byKey = new Map(names.map((name) => [keyOf(name), name]))
  const values: Record<string, unknown> = {}
  const unknown: string[] = []
  for (const [given, value] of Object.entries(objectOf(input))) {
    if (isEmpty(value)) continue
    const name = byKey.get(keyOf(given)) ?? ALIASES[keyOf(given)]?.find((alias) => names.includes(alias))
    if (name === undefined) unknown.push(unknownText(given, names))
    // Our own name wins where an alias says something else.
    else if (!(name in values) || keyOf(given) === keyOf(name)) values[name] = coerced(value, shape[name])
  }
  return { values, unknown }
}

function keyOf(name: string): string {
  return name.toLowerCase().replaceAll(/[_\-\s]/g, '')
}

/** Some models write the whole object as a text. */
function objectOf(input: unknown): object {
  const read = typeof input === 'string' ? parsed(input) : input
  return typeof read === 'object' && read !== null && !Array.isArray(read) ? read : {}
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

function unknownText(given: string, names: readonly string[]): string {
  const near = closest(given, [...names])
  const hint =
    distance(keyOf(given), keyOf(near)) < FAR ? `did you mean ${near}?` : `it has ${names.join(', ')}.`
  return `${given.slice(0, 60)}: there is no such argument; ${hint}`
}

function coerced(value: unknown, schema: z.core.$ZodType | undefined): unknown {
  const def = innermost(schema)
  switch (def?.type) {
    case 'number':
      return typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value
    case 'boolean':
      return typeof value === 'string' ? (BOOLEANS[value.trim().toLowerCase()] ?? value) : value
    case 'array':
      return listOf(value)
    case 'enum':
      return typeof value === 'string' ? value.trim().toLowerCase() : value
    case 'string':
      return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
    default:
      return value
  }
}

const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, false: false, yes: true, no: false }

function listOf(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const list = value.trim().startsWith('[') ? parsed(value) : undefined
  return Array.isArray(list) ? list : [value]
}

interface Definition {
  readonly type: string
  readonly innerType?: z.core.$ZodType
}

/** What a schema is beneath its default, or its being optional. */
function innermost(schema: z.core.$ZodType | undefined): Definition | undefined {
  const def = schema?._zod.def as Definition | undefined
  return def?.innerType ? innermost(def.innerType) : def
}
