/**
 * The names of our tools. Every text for OpenCode, a model or a person gets them from here, because `toolPrefix` changes
 * them all.
 */
const TOOLS = [
  'background_task',
  'background_output',
  'background_cancel',
  'background_apply',
  'list_background',
  'run_background',
  'check_background',
  'kill_background',
] as const

export type ToolName = (typeof TOOLS)[number]

/** Tool names by their names without a prefix. */
export type ToolNames = Readonly<Record<ToolName, string>>

export function toolNames(prefix: string): ToolNames {
  const entries = TOOLS.map((name) => [name, `${prefix}${name}`])
  return Object.fromEntries(entries) as ToolNames
}

/** The names of an author's tools, without the option `toolPrefix`. */
export interface NamedTools {
  /** Reads more of a task. */
  readonly read?: string | undefined
  /** Sends a prompt to a task: a notice of a question names it. */
  readonly send?: string | undefined
  /** Kills the leftover processes of a command. */
  readonly kill?: string | undefined
}
