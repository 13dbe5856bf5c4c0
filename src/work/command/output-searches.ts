/** The searches of the output of commands: for the texts of `notify_on`, or, with `notify_every`, for all lines that match. */
import type { Clock } from '../../clock.ts'
import type { CommandTask } from '../../task/task.ts'
import type { TaskEvent } from '../../task/task-event.ts'
import { startedAt } from './files.ts'
import type { Monitor } from './monitor/monitor.ts'
import type { MonitorView, OutputSearch, TakenMatches } from './monitoring.ts'

interface Ports {
  readonly clock: Clock
  readonly directoryOf: (task: CommandTask) => string
  /** Returns whether the event applied. */
  readonly dispatch: (task: CommandTask, event: TaskEvent) => boolean
  /** The shortest time between two notices of matching lines, in milliseconds. */
  readonly monitorGapMs: number
}

export class OutputSearches {
  readonly #ports: Ports
  /** By task id: those of unfinished commands. */
  readonly #monitors = new Map<string, Monitor>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /**
   * Returns the search through the output of a command that starts, or `undefined` if there is nothing to search for. Rejects if
   * its bundle cannot be loaded.
   *
   * @param stop aborted when the command is to stop: output that follows is ignored
   */
  async begin(task: CommandTask, stop: AbortSignal): Promise<OutputSearch | undefined> {
    const monitor = await this.monitorOf(task)
    if (monitor || task.notifyOn.length === 0 || 'matched' in task) return monitor
    const { clock, directoryOf, dispatch } = this.#ports
    const { OutputMatcher } = await import('./output-match.ts')
    return new OutputMatcher(directoryOf(task), task.notifyOn, (text) => {
      if (!stop.aborted) dispatch(task, { type: 'outputMatched', match: { text, at: clock.now() } })
    })
  }

  /** Returns the monitor of a command with `notifyEvery`, with its state from before a restart. */
  async monitorOf(task: CommandTask): Promise<Monitor | undefined> {
    const known = this.#monitors.get(task.id)
    if (known || !task.notifyEvery) return known
    const { clock, directoryOf, dispatch, monitorGapMs: gapMs } = this.#ports
    const loaded = await import('./monitor/monitor.ts')
    const monitor = new loaded.Monitor(task.notifyOn, {
      clock,
      directory: directoryOf(task),
      gapMs,
      onDue: (monitored) => dispatch(task, { type: 'monitored', monitored }),
    })
    this.#monitors.set(task.id, monitor)
    return monitor
  }

  take(taskID: string): TakenMatches | undefined {
    return this.#monitors.get(taskID)?.take()
  }

  told(taskID: string, notices: number): void {
    this.#monitors.get(taskID)?.told(notices)
  }

  async view(task: CommandTask): Promise<MonitorView | undefined> {
    if (!task.notifyEvery) return undefined
    const monitor = this.#monitors.get(task.id)
    if (monitor) return monitor.view()
    return (await import('./monitor/monitor.ts')).savedView(this.#ports.directoryOf(task))
  }

  /** Ends the search, and returns the text about the matches that no notice has. */
  finish(taskID: string, hasLeftovers: boolean): string {
    const monitor = this.#monitors.get(taskID)
    this.#monitors.delete(taskID)
    return monitor?.finish(hasLeftovers) ?? ''
  }

  /** Searches the output that was written while no process watched it, and ends the search. */
  async finishUnwatched(task: CommandTask): Promise<string> {
    if (startedAt(this.#ports.directoryOf(task)) !== undefined)
      await this.#monitors.get(task.id)?.searchRest()
    return this.finish(task.id, false)
  }

  /** Forgets a command that could not be started. */
  forget(taskID: string): void {
    this.#monitors.delete(taskID)
  }

  dispose(): void {
    for (const monitor of this.#monitors.values()) monitor.stop()
  }
}
