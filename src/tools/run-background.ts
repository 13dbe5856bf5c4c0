/** The tool that starts a shell command. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import * as z from 'zod/mini'
import type { BackgroundManager } from '../manager.ts'
import { brief } from '../text/sanitize.ts'
import { ToolError } from '../tool-error.ts'
import type { StartedCommand } from './render/started-text.ts'
import { statusNote } from './render/task-status.ts'
import { described, MILLISECONDS, type Tool } from './tool.ts'
import type { Caller, ToolPorts } from './tool-ports.ts'

/** The maximum length of a line: parsing a longer one would block the process for too long. */
const LONGEST = 20_000
/** The length of the default label: the beginning of the command. */
const NAME_LENGTH = 60
const LONGEST_NAME = 200

const args = ({ guidance, manager }: ToolPorts) => ({
  command: described(
    z
      .string()
      .check(
        z.regex(/^[^\0]*$/, 'must not contain a NUL character'),
        z.maxLength(
          LONGEST,
          `must not be longer than ${LONGEST} characters: write it to a script file and run that`,
        ),
      ),
    'For the shell',
  ),
  cwd: described(z.optional(z.string().check(z.trim(), z.minLength(1))), 'Default: the project'),
  timeout: described(
    z.optional(MILLISECONDS),
    `In ms, default ${manager.commands.timeoutMs}; 0: none, as for servers`,
  ),
  label: described(z.optional(z.string().check(z.trim(), z.minLength(1))), 'A few words, for people'),
  notify_on: described(z.optional(z.array(z.string().check(z.minLength(1)))), guidance.ofMatch),
  notify_every: described(z.optional(z.boolean()), guidance.ofMonitor),
  open_stdin: described(z.optional(z.boolean()), 'For watchers that end with their input'),
})

export function runBackground(ports: ToolPorts): Tool<ReturnType<typeof args>, StartedCommand> {
  const { manager, guidance } = ports
  const { timeoutMs } = manager.commands
  return {
    name: 'run_background',
    description: `Run a shell command in the background: a build, tests, a dev server. ${guidance.ofCommand}`,
    args: args(ports),
    effect: 'starts',
    async call(
      { command, cwd: given = '.', timeout, label, notify_on = [], notify_every, open_stdin },
      caller,
    ) {
      if (notify_every) await manager.checkMonitor(notify_on)
      const cwd = await directory(resolve(caller.directory, given))
      const shell = await askForCommand(caller, command, cwd, manager)
      const isDefault = timeout === undefined && timeoutMs > 0
      const task = await manager.launchCommand({
        parentID: caller.sessionID,
        command,
        ...(shell !== undefined && { shell }),
        cwd,
        description: brief(label ?? command, label === undefined ? NAME_LENGTH : LONGEST_NAME),
        timeoutMs: timeout ?? timeoutMs,
        ...(isDefault && { timeoutIsDefault: true }),
        ...(open_stdin === true && { hasOpenInput: true }),
        notifyOn: notify_on,
        ...(notify_every === true && { notifyEvery: true }),
      })
      return { task, note: statusNote(manager, task), label }
    },
    render: (started, { startedCommandText }) => startedCommandText(started, guidance),
  }
}

async function directory(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) return path
  throw new ToolError(`cwd: ${path} ${found ? 'is not a directory' : 'does not exist'}. Nothing was started.`)
}

/**
 * Requests the permissions of OpenCode's own bash tool: for each simple command of the line, and each
 * directory outside of the project. Resolves with the shell that must run the line, or `undefined` for the
 * user's own.
 */
export async function askForCommand(
  caller: Caller,
  command: string,
  cwd: string,
  { machine }: BackgroundManager,
): Promise<string | undefined> {
  const { directory: project, worktree } = caller
  // Imported here, because many servers never run a command, and each would load it at startup.
  const { claimsOf } = await import('../work/command/required-permissions/required-permissions.ts')
  const where = { cwd, directory: project, worktree }
  const { patterns, always, directories, shell } = await claimsOf(command, where, machine)
  const metadata = { command }
  if (directories.length > 0) {
    await caller.ask({
      permission: 'external_directory',
      patterns: [...directories],
      always: [...directories],
      metadata,
    })
  }
  // The host requests nothing for a line without any command, as `> file`, although such a line has effects.
  const asked = patterns.length > 0 ? { patterns: [...patterns], always: [...always] } : whole(command)
  await caller.ask({ permission: 'bash', ...asked, metadata })
  return shell
}

function whole(command: string): { readonly patterns: string[]; readonly always: string[] } {
  return { patterns: [command], always: [command] }
}
