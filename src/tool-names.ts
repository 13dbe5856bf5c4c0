/**
 * The names of our tools. Whatever names one takes it from here, to the host, to a model or to a person: the option
 * `toolPrefix` changes them all.
 */
const TOOLS = [
  'background_task',
  'background_output',
  'background_cancel',
  'list_background',
  'run_background',
  'check_background',
  'kill_background',
] as const

export type ToolName = (typeof TOOLS)[number]

/** By the names that they have without a prefix. */
export type ToolNames = Readonly<Record<ToolName, string>>

export function toolNames(prefix: string): ToolNames {
  const entries = TOOLS.map((name) => [name, `${prefix}${name}`])
  return Object.fromEntries(entries) as ToolNames
}
