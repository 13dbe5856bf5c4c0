/** Runs shell commands, and recovers those that outlived the process which started them. */
import { readProcessIdentity, readPiece, writeOwner, type CommandOwner } from './files.ts'
import { exitOf, outcomeOf } from './ending.ts'
import { isUnmatched, paragraphs, leftoversText, watcherText, type Remains } from './command-output.ts'
import { CommandReports, type ReportPorts } from './command-report.ts'
import { isDiskFull, markTold, Retention } from './retention.ts'
import { listeningPort } from './listening-port.ts'
import type { OutputSearch, TakenMatches } from './monitoring.ts'
import { OutputSearches } from './output-searches.ts'
import { attach, type CommandProcess } from './process.ts'
import { start } from './process-start.ts'
import type { Options } from '../../config.ts'
import { errorText } from '../../host/opencode.ts'
import type { Owners } from '../../task/owner.ts'
import { leftOf } from '../../task/time-limit.ts'
import type { Outcome } from '../../task/state.ts'
import { isEnded, isOpenEnded, type EndedTask, outlivesDefault, type CommandTask } from '../../task/task.ts'
import type { TaskEvent } from '../../task/task-event.ts'
import type { Recovered, ReportOptions, WorkKind, WorkReport } from '../kind.ts'
import { failed, interrupted, stopped, type StopCause } from '../outcome.ts'
import type { Queue } from '../queue.ts'
import type { ShellEnv } from './shell-env-hooks.ts'

interface Ports extends ReportPorts {
  readonly owners: Owners
  readonly shellEnv: Pick<ShellEnv, 'of'>
  readonly queue: Queue
  /** The tool that kills leftover processes; `undefined` if there is none. */
  readonly killTool: string | undefined
}

type Limits = Pick<
  Options['commands'],
  'maxOutputBytes' | 'maxTotalBytes' | 'killGraceMs' | 'shellEnv' | 'timeoutMs'
> & {
  /** How much of each stream a notice reports at the end, including the note about the omitted rest. */
  readonly toldBytes: number
  /** The shortest time between two notices of matching lines, in milliseconds. */
  readonly monitorGapMs: number
}

const DISK_IS_FULL = '[The disk is full: some of its output may be missing.]'

export class CommandRunner implements WorkKind<CommandTask> {
  readonly queue: Queue
  readonly #ports: Ports
  readonly #limits: Limits
  /** By task id: running commands, and ended ones with leftover processes. */
  readonly #live = new Map<string, CommandProcess>()
  readonly #reports: CommandReports
  readonly #searches: OutputSearches
  readonly #retention: Retention
  /** Set while a command runs that must not outlive this instance. */
  #stopListening: (() => void) | undefined

  constructor(ports: Ports, limits: Limits) {
    this.#ports = ports
    this.queue = ports.queue
    this.#limits = limits
    const { clock, log, machine } = ports
    this.#reports = new CommandReports(ports, limits.toldBytes)
    this.#searches = new OutputSearches({
      clock,
      monitorGapMs: limits.monitorGapMs,
      directoryOf: (task) => this.#reports.directoryOf(task),
      dispatch: (task, event) => this.#dispatch(task, event),
    })
    this.#retention = new Retention(clock, machine.root, limits.maxTotalBytes, (error) =>
      log.warn(`the files of old commands could not be removed: ${errorText(error)}`),
    )
  }

  timeLimitOf({ timeoutMs }: CommandTask): number {
    return timeoutMs
  }

  /** Starts the command, or attaches to one that another process started. */
  async run(task: CommandTask, onStarted: () => void, stop: AbortSignal): Promise<Outcome> {
    const { clock, machine, shellEnv, store } = this.#ports
    const isToStart = readProcessIdentity(this.#reports.directoryOf(task)) === undefined
    const added = this.#limits.shellEnv && isToStart ? await shellEnv.of(task.cwd) : {}
    let search: OutputSearch | undefined
    try {
      // No await for other commands: the answer of the tool that starts one shows that it runs.
      search = task.notifyOn.length > 0 ? await this.#searches.begin(task, stop) : undefined
    } catch (error) {
      return failed('error', `it was not started, since its output cannot be searched: ${errorText(error)}`)
    }
    // The task may have been stopped during the hook calls, or its instance may have been disposed of.
    const now = store.get(task.id)
    if (stop.aborted) return stopped(stop.reason as StopCause)
    if (now && isEnded(now)) return interrupted(task, false)
    let child: CommandProcess
    /** The first cause for which it is being killed. */
    let cause: StopCause | undefined
    let killed: Promise<void> | undefined
    const kill = (why: StopCause): void => {
      cause ??= why
      killed = child.kill()
    }
    const onStop = (): void => kill(stop.reason as StopCause)
    // Subscribes first: a signal during the start is then handled after it, when `#live` contains the child.
    this.#stopListening ??= this.#ports.machine.onTermination(() => this.dispose())
    try {
      child = this.#begin(task, added, () => {
        // SIGKILL, because a command keeps writing between SIGTERM and its end.
        child.killNow()
        kill({ type: 'output', limitBytes: this.#limits.maxOutputBytes })
      })
      this.#live.set(task.id, child)
    } catch (error) {
      this.#searches.forget(task.id)
      this.#letGo(task.id)
      return failed(
        'error',
        `it could not be started${isFull(error) ? ', as the disk is full' : ''}: ${errorText(error)}`,
      )
    }
    onStarted()
    if (search) child.watch(search)
    stop.addEventListener('abort', onStop)
    if (stop.aborted) onStop()
    const end = await child.ended
    await killed
    stop.removeEventListener('abort', onStop)
    const remains = { hasLeftovers: child.isAlive, isUnmatched: isUnmatched(store.now(task)) }
    const matches = this.#searches.finish(task.id, remains.hasLeftovers)
    void child.gone.then(() => this.#gone(task.id, child, remains))
    void this.#reports.leaveMessage(task)
    this.#reports.logEnd(task, end)
    const advice = [
      ...watcherText(task, end, clock.now()),
      ...(isDiskFull(machine.root) ? [DISK_IS_FULL] : []),
    ]
    if (this.#live.has(task.id)) this.#retention.cleanSoon()
    const text = paragraphs([
      this.#reports.textBeside(task, matches),
      ...leftoversText(remains, this.#ports.killTool),
      ...advice,
    ])
    // A command that wrote too much may have ended by itself before it was killed.
    const hasOwnEnd = cause?.type === 'output' && end.type === 'exited'
    return cause && !hasOwnEnd ? stopped(cause, { text, ...exitOf(end) }) : outcomeOf(end, text)
  }

  /** Recovers a command from its files, which show whether it still runs, and how it ended. */
  async recover(recorded: CommandTask, isTold: (task: EndedTask) => boolean): Promise<Recovered> {
    const { recovered } = await import('./recover-command.ts')
    const isSettled = isEnded(recorded) && isTold(recorded)
    const monitor = isSettled ? undefined : await this.#searches.monitorOf(recorded)
    return recovered(recorded, {
      directory: this.#reports.directoryOf(recorded),
      now: this.#ports.clock.now(),
      matches: monitor?.taken,
      readText: async () =>
        this.#reports.textBeside(recorded, await this.#searches.finishUnwatched(recorded)),
    })
  }

  async report(task: CommandTask, { tailLines, piece: asked }: ReportOptions): Promise<WorkReport> {
    const tail = tailLines === undefined ? {} : { lines: tailLines }
    const output = this.#reports.outputOf(task, this.hasLeftovers(task), tail)
    const piece = asked && readPiece(this.#reports.directoryOf(task), asked.stream, asked.offset, asked.bytes)
    const monitor = await this.#searches.view(task)
    return { messages: [], transcript: undefined, output, monitor, ...(piece && { piece }) }
  }

  takeMatches({ id }: CommandTask): TakenMatches | undefined {
    return this.#searches.take(id)
  }

  matchesWereTold({ id }: CommandTask, notices: number): void {
    this.#searches.told(id, notices)
  }

  textOf(task: CommandTask, bytes: number): string {
    return this.#reports.textOf(task, bytes)
  }

  /** Lets `Retention` remove the files of a command to free space, as no parent is owed its end. */
  endWasTold(task: CommandTask): void {
    this.#tryToWrite(task, () => markTold(this.#reports.directoryOf(task)))
  }

  hasLeftovers(task: CommandTask): boolean {
    return isEnded(task) && (this.#live.get(task.id)?.isAlive ?? false)
  }

  async killLeftovers(task: CommandTask): Promise<boolean> {
    const child = this.#live.get(task.id)
    if (!isEnded(task) || !child?.isAlive) return false
    await child.kill()
    return true
  }

  /**
   * Whether a command continues past its limit: the limit is the default one, and the command has proved to
   * be a server, by a matched `notifyOn` text or by a port on which it listens.
   */
  outlivesLimit(task: CommandTask): boolean {
    if (outlivesDefault(task)) return true
    const port = task.timeoutIsDefault ? this.#portOf(task) : undefined
    if (port === undefined) return false
    return this.#dispatch(task, { type: 'listening', listening: { port, at: this.#ports.clock.now() } })
  }

  /**
   * Whether a command has no time limit, and any awaited `notifyOn` text has matched. A match that lifted the
   * default limit may come from a build: without a port it counts as a service once that limit would be over.
   */
  isService(task: CommandTask): boolean {
    if (!isOpenEnded(task)) return false
    const {
      matched,
      monitored,
      listening,
      startedAt: since,
    } = { matched: undefined, monitored: undefined, listening: undefined, startedAt: undefined, ...task }
    if (task.notifyOn.length > 0 && !matched && !monitored) return false
    if (!outlivesDefault(task) || listening || this.#portOf(task) !== undefined) return true
    return leftOf(this.#limits.timeoutMs, since ?? task.createdAt, this.#ports.clock) === 0
  }

  #portOf({ id }: CommandTask): number | undefined {
    const child = this.#live.get(id)
    return child?.isAlive ? listeningPort(child.pid) : undefined
  }

  /** Dispatches, and rewrites the owner file, so that other processes observe a lifted time limit. */
  #dispatch(before: CommandTask, event: TaskEvent): boolean {
    const { store } = this.#ports
    if (!store.dispatch(before.id, event)) return false
    const task = store.now(before)
    if (isEnded(task)) return true
    this.#tryToWrite(task, () => this.#writeBelonging(task))
    return true
  }

  #tryToWrite({ id }: CommandTask, write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#ports.log.warn(`${id}: its files could not be written to: ${errorText(error)}`)
    }
  }

  #writeBelonging(task: CommandTask): void {
    writeOwner(this.#reports.directoryOf(task), this.#belonging(task))
  }

  #belonging({ timeoutMs, timeoutIsDefault = false }: CommandTask): CommandOwner {
    return { owner: this.#ports.owners.self, timeoutMs, timeoutIsDefault }
  }

  /** Kills all running and leftover processes of this instance. */
  dispose(): void {
    this.#retention.dispose()
    for (const child of this.#live.values()) child.killNow()
    this.#searches.dispose()
    this.#live.clear()
    this.#stopListening?.()
    this.#stopListening = undefined
  }

  #begin(task: CommandTask, added: NodeJS.ProcessEnv, onTooMuchOutput: () => void): CommandProcess {
    const { clock, log, machine } = this.#ports
    const directory = this.#reports.directoryOf(task)
    const options = { directory, clock, ...this.#limits, onTooMuchOutput }
    const { id, command, cwd, hasOpenInput = false } = task
    const belonging = this.#belonging(task)
    const identity = readProcessIdentity(directory)
    if (identity) {
      this.#writeBelonging(task)
      return attach({ ...identity, ...options })
    }
    this.#retention.cleanSoon()
    log.debug(`${id}: Starting: ${command} (cwd: ${cwd})`)
    const { shell = machine.shell } = task
    return start({
      command,
      cwd,
      shell,
      env: { ...machine.env, ...added },
      hasOpenInput,
      belonging,
      ...options,
    })
  }

  /** Called when no process of a command is left: an awaited text can no longer appear. */
  #gone(
    taskID: string,
    { wasSignalled }: CommandProcess,
    { hasLeftovers, isUnmatched: none }: Remains,
  ): void {
    const { clock, store } = this.#ports
    this.#letGo(taskID)
    if (hasLeftovers && none && !wasSignalled)
      store.dispatch(taskID, { type: 'outputMatched', match: { at: clock.now() } })
  }

  #letGo(taskID: string): void {
    this.#live.delete(taskID)
    if (this.#live.size > 0) return
    this.#stopListening?.()
    this.#stopListening = undefined
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}
