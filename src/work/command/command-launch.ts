/** Makes the work of a shell command of a request. */
import { ToolError } from '../../tool-error.ts'
import type { KindLaunch } from '../kind.ts'
import type { CommandWork } from './command-work.ts'

export interface CommandRequest extends Omit<CommandWork, 'kind'> {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
}

export const commandLaunch: KindLaunch<CommandRequest, CommandWork> = {
  kind: 'command',

  check({ command, timeoutMs }) {
    if (!(timeoutMs >= 0))
      throw new ToolError(`timeoutMs: must be 0 (no limit) or more, and not ${timeoutMs}.`)
    if (command.trim() === '') throw new ToolError('The command line is empty. Say what to run.')
  },

  async prepare({ parentID: _parentID, description: _description, ...request }, _run, parent) {
    await parent
    // The JSON of records lacks `Infinity`.
    const timeoutMs = request.timeoutMs === Infinity ? 0 : request.timeoutMs
    return { work: { kind: 'command', ...request, timeoutMs }, permission: [] }
  },
}
