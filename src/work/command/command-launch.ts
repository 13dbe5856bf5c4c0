/** Makes the work of a shell command from a request. */
import { ToolError } from '../../tool-error.ts'
import type { KindLaunch } from '../kind.ts'
import type { CommandWork } from './command-work.ts'

export interface CommandRequest extends Omit<CommandWork, 'kind'> {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
}

/** Rejects with a `ToolError` unless each entry of `notifyOn` is an expression. */
export async function checkMonitor({ notifyOn }: Pick<CommandRequest, 'notifyOn'>): Promise<void> {
  // Loaded lazily, because few commands have a monitor.
  const { checkEntries } = await import('./monitor/monitor.ts')
  checkEntries(notifyOn)
}

export const commandLaunch: KindLaunch<CommandRequest, CommandWork> = {
  kind: 'command',

  check({ command, timeoutMs }) {
    if (!(timeoutMs >= 0))
      throw new ToolError(`timeoutMs: must be 0 (no limit) or more, and not ${timeoutMs}.`)
    if (command.trim() === '') throw new ToolError('The command line is empty. Say what to run.')
  },

  async prepare({ parentID: _parentID, description: _description, ...request }, _run, parent) {
    if (request.notifyEvery) await checkMonitor(request)
    await parent
    // The JSON of records lacks `Infinity`.
    const timeoutMs = request.timeoutMs === Infinity ? 0 : request.timeoutMs
    return { work: { kind: 'command', ...request, timeoutMs }, permission: [] }
  },
}
