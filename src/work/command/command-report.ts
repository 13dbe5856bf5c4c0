/** Reads the output of commands from their files, for notices, tool answers, their sessions and the debug log. */
import { join } from 'node:path'
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import { errorText, type Opencode } from '../../host/opencode.ts'
import type { TaskStore } from '../../task/store.ts'
import { isEnded, type CommandTask } from '../../task/task.ts'
import { brief, sanitize } from '../../text/sanitize.ts'
import { paragraphs, readStreams, streamsText } from './command-output.ts'
import { startedAt, type CommandEnd, type CommandOutput, type TailOptions } from './files.ts'
import type { Machine } from './this-machine.ts'

export interface ReportPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly machine: Machine
}

const WORDS_BYTES = 300

/** How much of each stream the message in the session of the command contains. */
const NOTE = { bytes: 4000 }
/** How much of each stream the debug log contains. */
const LOGGED = { bytes: 200 }
const OUTPUT_IS_GONE = '[Its output is gone: its files were removed.]'

export class CommandReports {
  readonly #ports: ReportPorts
  readonly #toldBytes: number

  /** @param toldBytes how much of each stream a notice reports, including the note about the omitted rest */
  constructor(ports: ReportPorts, toldBytes: number) {
    this.#ports = ports
    this.#toldBytes = toldBytes
  }

  /** Returns the directory of the command's files. */
  directoryOf({ id }: CommandTask): string {
    return join(this.#ports.machine.root, id)
  }

  /** Returns the end of the output and the text about its matches, within the room of a notice. */
  textBeside(task: CommandTask, matches: string): string {
    const bytes = this.#toldBytes - WORDS_BYTES - Buffer.byteLength(matches)
    return paragraphs([this.textOf(task, bytes), matches])
  }

  /**
   * Returns the end of its output, the streams one after the other.
   *
   * @param bytes of each stream
   */
  textOf(task: CommandTask, bytes: number): string {
    if (this.#isGone(task)) return OUTPUT_IS_GONE
    const directory = this.directoryOf(task)
    return streamsText(directory, readStreams(directory, { bytes: Math.max(WORDS_BYTES, bytes) }))
  }

  /** @param tail how much of each stream to read, capped at what OpenCode lets through */
  outputOf(task: CommandTask, hasLeftovers: boolean, tail: Partial<TailOptions>): CommandOutput {
    const directory = this.directoryOf(task)
    return { directory, ...readStreams(directory, tail), hasLeftovers, isGone: this.#isGone(task) }
  }

  /** Leaves the output in the session for the user; no model reads it. */
  async leaveMessage(task: CommandTask): Promise<void> {
    const { opencode, log } = this.#ports
    const directory = this.directoryOf(task)
    try {
      await opencode.leaveMessage(
        task.sessionID,
        sanitize(streamsText(directory, readStreams(directory, NOTE))) || 'No output.',
      )
    } catch (error) {
      log.warn(`${task.id}: its output could not be left in its session: ${errorText(error)}`)
    }
  }

  /** Writes the end of each stream, and how the command ended, to the debug log. */
  logEnd(task: CommandTask, end: CommandEnd): void {
    const { clock, log } = this.#ports
    const directory = this.directoryOf(task)
    const streams = readStreams(directory, LOGGED)
    for (const stream of ['stdout', 'stderr'] as const) {
      const text = sanitize(streams[stream].text).trim()
      if (text !== '') log.debug(`${task.id}: ${stream}: ${brief(text, LOGGED.bytes)}`)
    }
    const how =
      end.type === 'exited' ? `with code ${end.code}` : end.type === 'killed' ? `by ${end.signal}` : 'unseen'
    const ms = clock.now() - (startedAt(directory) ?? clock.now())
    log.debug(`${task.id}: Completed ${how} in ${(ms / 1000).toFixed(2)}s`)
  }

  /** Whether the files of a started command no longer exist. */
  #isGone(before: CommandTask): boolean {
    const task = this.#ports.store.now(before)
    const isBegun = task.status !== 'pending' && task.status !== 'starting'
    if (!isBegun || startedAt(this.directoryOf(task)) !== undefined) return false
    // A command that could not be started has no exit, and never had files.
    return !isEnded(task) || task.exit !== undefined
  }
}
