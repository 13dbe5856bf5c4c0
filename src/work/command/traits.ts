/** The traits of shell commands. Pure. */
import { exitHint } from '../../text/exit-hint.ts'
import { monitorText } from '../../text/monitor-text.ts'
import type { Exit } from '../../task/state.ts'
import type { Traits } from '../traits.ts'
import { commandSchema, type CommandWork } from './command-work.ts'

export const COMMAND = {
  schema: commandSchema,
  runsInSession: false,
  isLimited: false,
  // OpenCode, or the MCP server.
  host: 'the process that started it',
  noun: 'command',
  worker: () => 'command',
  workerInSentence: () => 'a command',
  mark: () => '$',
  titleSuffix: () => 'command',
  silentEnd: 'It ended without any output.',
  limit: ({ timeoutIsDefault = false }) =>
    timeoutIsDefault ? 'the default limit: give a timeout, or 0 for none' : 'its limit (timeout)',
  lines: () => [],
  endAttributes: ({ kind, exit }, how) => ({ kind, ...how, ...exitAttribute(exit) }),
  endLines: () => [],
  endHint: exitHint,
  runningDetail: (task) => {
    if ('matched' in task && task.matched?.text !== undefined) return `matched: ${task.matched.text}`
    return monitorText(task) ?? (task.command === task.description ? undefined : task.command)
  },
  actions: { read: 'Read the output', stop: 'Kill it' },
} satisfies Traits<CommandWork>

function exitAttribute(exit: Exit | undefined): Record<string, string> {
  if (!exit) return {}
  return exit.type === 'exited' ? { exit_code: String(exit.code) } : { signal: exit.signal }
}
