/**
 * Judges permissions as OpenCode does: the last matching rule decides. Without a rule of the user, commands are allowed, and
 * the user is asked about directories outside of the root.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import stripJsonComments from 'strip-json-comments'
import { UsageError } from '../usage-error.ts'

export type Action = 'allow' | 'ask' | 'deny'

export interface Rule {
  readonly permission: string
  readonly pattern: string
  readonly action: Action
}

const BASE: readonly Rule[] = [
  { permission: '*', pattern: '*', action: 'allow' },
  { permission: 'external_directory', pattern: '*', action: 'ask' },
]

export interface RuleSources {
  /** Patterns of commands that may run. If there are any, the user is asked about all other commands. */
  readonly allow: readonly string[]
  /** Patterns of commands that are refused, even if another rule allows them. */
  readonly deny: readonly string[]
  /** The path of an `opencode.json`, whose `permission` is read. */
  readonly config: string | undefined
}

/** Returns the rules, the weakest first. Throws a `UsageError` for a file that cannot be used. */
export function readRules({ allow, deny, config }: RuleSources): readonly Rule[] {
  const bash = (pattern: string, action: Action): Rule => ({ permission: 'bash', pattern, action })
  return [
    ...BASE,
    ...(allow.length > 0 ? [bash('*', 'ask')] : []),
    ...(config === undefined ? [] : readConfig(config)),
    ...allow.map((pattern) => bash(pattern, 'allow')),
    ...deny.map((pattern) => bash(pattern, 'deny')),
  ]
}

/** Returns the action for a pattern, by the last rule that matches. */
export function judge(rules: readonly Rule[], permission: string, pattern: string): Action {
  const rule = rules.findLast(
    (each) => isMatch(permission, each.permission) && isMatch(pattern, each.pattern),
  )
  return rule?.action ?? 'ask'
}

/**
 * Whether a text matches a pattern of OpenCode: `*` is any text, `?` one character, and ` *` at the end may be absent.
 * Backslashes count as slashes, as there.
 */
function isMatch(text: string, pattern: string): boolean {
  const escaped = withSlashes(pattern)
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  const source = escaped.endsWith(' .*') ? `${escaped.slice(0, -3)}( .*)?` : escaped
  return new RegExp(`^${source}$`, 's').test(withSlashes(text))
}

function withSlashes(text: string): string {
  return text.replaceAll('\\', '/')
}

function readConfig(path: string): readonly Rule[] {
  let config: unknown
  try {
    const text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
    config = JSON.parse(stripJsonComments(text, { trailingCommas: true }))
  } catch (error) {
    throw new UsageError(`--config: ${path} cannot be read: ${(error as Error).message}`)
  }
  const mistake = (what: string): UsageError => new UsageError(`--config: ${path}: ${what}`)
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw mistake('it must be an object')
  // A misspelled name would leave everything allowed.
  if (!('permission' in config) && !('tools' in config)) throw mistake('it has no "permission"')
  const { permission = {}, tools = {} } = config as {
    readonly permission?: unknown
    readonly tools?: unknown
  }
  const older = permissionOf(tools, mistake)
  if (typeof permission === 'object' && permission !== null)
    return rulesOf({ ...older, ...permission }, mistake)
  return [...rulesOf(older, mistake), ...rulesOf(permission, mistake)]
}

/** Converts the older setting `tools` to `permission`, as OpenCode does. */
function permissionOf(tools: unknown, mistake: (what: string) => Error): Readonly<Record<string, Action>> {
  if (typeof tools !== 'object' || tools === null) throw mistake('tools must be an object')
  return Object.fromEntries(
    Object.entries(tools).map(([name, isOn]: [string, unknown]): [string, Action] => {
      if (typeof isOn !== 'boolean') throw mistake(`tools.${name} must be true or false`)
      return [name, isOn ? 'allow' : 'deny']
    }),
  )
}

/**
 * Returns the rules of `permission` in a configuration of OpenCode.
 *
 * @param mistake makes the error that is thrown for a value that OpenCode does not know
 */
export function rulesOf(permission: unknown, mistake: (what: string) => Error): readonly Rule[] {
  const actionOf = (value: unknown, where: string): Action => {
    if (value === 'allow' || value === 'ask' || value === 'deny') return value
    throw mistake(`${where} must be "allow", "ask" or "deny"`)
  }
  if (typeof permission !== 'object' || permission === null)
    return [{ permission: '*', pattern: '*', action: actionOf(permission, 'permission') }]
  return Object.entries(permission).flatMap(([name, value]: [string, unknown]): readonly Rule[] => {
    if (typeof value !== 'object' || value === null)
      return [{ permission: name, pattern: '*', action: actionOf(value, `permission.${name}`) }]
    return Object.entries(value).map(([pattern, action]: [string, unknown]) => ({
      permission: name,
      pattern: expandHome(pattern),
      action: actionOf(action, `permission.${name}["${pattern}"]`),
    }))
  })
}

function expandHome(pattern: string): string {
  return pattern.replace(/^(?:~(?=\/|$)|\$HOME)/, () => homedir())
}
