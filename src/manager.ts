/**
 * The door to background tasks: launches them, looks at them, stops them, and passes the host's events on to the rooms
 * that wait for them. It holds no state of tasks; that is the store's.
 */
import { parseOptions, type OptionsInput } from './config.ts'
import type { Surroundings } from './work/command/machine.ts'
import type { NextRunOptions } from './launch/continuer.ts'
import { forkedFrom } from './parent/forks.ts'
import type { CommandRequest, LaunchRequest } from './launch/launcher.ts'
import { receiptOf, type Receipt } from './parent/history.ts'
import type { Hold } from './parent/outbox.ts'
import type { Reader } from './host/reader.ts'
import { hooksOf, type ManagerHooks } from './hooks.ts'
import { errorText, type Client } from './host/opencode.ts'
import { Problems } from './setup/problems.ts'
import type { OthersTask } from './parent/parent-tasks.ts'
import { buildRooms, realPorts, type Ports, type Rooms } from './rooms.ts'
import type { Retry } from './work/agent/provider-backoff.ts'
import type { StepListener, Story } from './timeline.ts'
import { waitFor } from './task/wait-for.ts'
import {
  isEnded,
  NO_USAGE,
  type CommandTask,
  type EndedTask,
  type Task,
  type UnfinishedTask,
  type Usage,
} from './task/task.ts'
import { kindOf, type ReportOptions, type WorkKind, type WorkReport } from './work/kind.ts'
import { unknownTask } from './tool-error.ts'
import type { ToolNames } from './tool-names.ts'

export interface ManagerInput {
  /** The client that OpenCode hands to a plugin. */
  readonly client: Client
  /** The project's directory, which OpenCode hands to a plugin too. */
  readonly directory: string
  /**
   * Its own among the managers of a project. After a restart, tasks are recovered by the manager of the name under which
   * they were launched; where none is given, by any that has none, and not before the process has ended.
   */
  readonly name?: string | undefined
  /** Where OpenCode listens, which it hands to a plugin too; needed for the option `tmux` alone. */
  readonly serverUrl?: URL | undefined
  /** The tools that notices name. A notice names no other. */
  readonly tools?: NamedTools | undefined
  /** The options of the plugin. One that is not understood falls back to its default, and is named in `problems`. */
  readonly options?: OptionsInput | undefined
}

/** The names of an author's tools, without the option `toolPrefix`. */
export interface NamedTools {
  /** Reads more of a task. */
  readonly read?: string | undefined
  /** Ends what a command has left running. */
  readonly kill?: string | undefined
}

export interface WaitOptions {
  /** The longest wait in milliseconds; 0: no limit. */
  readonly timeoutMs?: number | undefined
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined
  /**
   * The tool call that passes the end on to the parent's model; `readerOf` makes one. The notice of the end is kept back
   * until OpenCode has stored this call: as completed, no notice follows; failed, aborted or never stored, the notice is
   * sent. Without a reader, or with one in another session, a notice follows in any case.
   */
  readonly reader?: Reader | undefined
}

/** Waits for the end first where `timeoutMs` is given. */
export interface OutputOptions extends WaitOptions, ReportOptions {}

/** Why a wait is over: the task has ended, the time has passed, or the signal was given. */
export type WaitResult =
  | { readonly type: 'ended'; readonly task: EndedTask }
  | { readonly type: 'timedOut' | 'aborted'; readonly task: UnfinishedTask }

export interface TaskReport extends WorkReport {
  readonly task: Task
  /**
   * To be part of the metadata that the tool returns. After a restart it shows that the end was read; without it the end
   * is told again then. Empty where the task has not ended.
   */
  readonly receipt: Receipt
}

export type { OthersTask } from './parent/parent-tasks.ts'

const SHELL_ENV_UNHEARD =
  'another plugin adds variables to the environment of shell commands (shell.env), which background commands do not have; ' +
  'the option commands.shellEnv: true gives them to these as well'

export class BackgroundManager {
  /** @internal The names of this plugin's own tools. */
  readonly toolNames: ToolNames
  /** Whether agents get the tools for commands, and after how many milliseconds one ends that names no timeout. */
  readonly commands: { readonly enabled: boolean; readonly timeoutMs: number }
  readonly #ports: Ports
  readonly #rooms: Rooms
  readonly #hooks: ManagerHooks
  readonly #problems: Problems
  readonly #stalledAfterMs: number
  readonly #hasShellEnv: boolean

  constructor(input: ManagerInput)
  /** @internal Tests have ports of their own. */
  constructor(input: ManagerInput, ports?: Ports)
  constructor(input: ManagerInput, ports?: Ports) {
    const { options, problems } = parseOptions(input.options)
    const { client, directory, name, serverUrl, tools } = input
    this.#ports = ports ?? realPorts(client, directory, name, options, serverUrl)
    this.#rooms = buildRooms(this.#ports, options, tools)
    this.toolNames = this.#rooms.names
    this.#problems = new Problems(this.#ports)
    for (const problem of problems) this.#problems.add(`option ${problem}`)
    if (options.tmux.enabled && !serverUrl)
      this.#problems.add('option tmux: there are no panes without serverUrl')
    // They need a POSIX shell, and process sessions to end what they start.
    const enabled = options.commands.enabled && process.platform !== 'win32'
    this.commands = { ...options.commands, enabled }
    this.#stalledAfterMs = options.stalledAfterMs
    this.#hasShellEnv = options.commands.shellEnv
    this.#hooks = hooksOf(this.#rooms, this.#ports, this.#problems, () => this.dispose())
  }

  /** One sentence for each option that was not understood, and for what else was reported. */
  get problems(): readonly string[] {
    return this.#problems.all
  }

  /** @internal Has the user told of a problem in this plugin's own setup, once: in a toast and in OpenCode's log. */
  report(problem: string): void {
    this.#problems.add(problem)
  }

  /** @internal The shell that commands run in by default, and what they see. */
  get machine(): Surroundings {
    return this.#ports.machine
  }

  /**
   * Creates the child session and queues its start; resolves as soon as the record exists, whatever the queue holds.
   * Rejects with a `ToolError` where the request cannot be met; nothing is created then.
   */
  async launch(request: LaunchRequest): Promise<Task> {
    const task = await this.#rooms.launcher.launch(request)
    this.#rooms.executor.enqueue(task)
    return this.#rooms.store.now(task)
  }

  /** The same for a shell command, which is asked for no permission here. */
  async launchCommand(request: CommandRequest): Promise<CommandTask> {
    if (!this.#hasShellEnv && this.#rooms.shellEnv.isAddedTo) this.report(SHELL_ENV_UNHEARD)
    const task = await this.#rooms.launcher.launchCommand(request)
    this.#rooms.executor.enqueue(task)
    return this.#rooms.store.now(task)
  }

  /**
   * Says more to a task: a pending one gets it in its prompt, a running one reads it at its next step, and one that
   * has ended starts its next run in the same session. Resolves with the task as it then is. Rejects with a
   * `ToolError` where it cannot be done.
   */
  continue(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    return this.#rooms.continuer.continue(taskID, prompt, changes)
  }

  get(taskID: string): Task | undefined {
    return this.#rooms.store.get(taskID)
  }

  /** What a session launched, the oldest first. */
  list(parentID: string): readonly Task[] {
    return this.#rooms.parents.find(parentID)?.tasks.list() ?? []
  }

  /** What the runs of agents that a session launched have used together, of those that have ended. */
  used(parentID: string): Usage {
    return this.#rooms.parents.find(parentID)?.tasks.used ?? NO_USAGE
  }

  /** What a session launched in another process of OpenCode that is still there: it tells their ends. */
  others(parentID: string): readonly OthersTask[] {
    return this.#rooms.parents.find(parentID)?.tasks.others ?? []
  }

  /**
   * The session that launched a task of which this one knows, since it was forked from it; `undefined` where it was not, or
   * where that cannot be seen.
   *
   * @param taskID left out: the newest one that it knows of
   */
  async forkedFrom(sessionID: string, taskID?: string): Promise<string | undefined> {
    try {
      return await forkedFrom(this.#ports.opencode, sessionID, taskID)
    } catch (error) {
      this.#ports.log.warn(`could not look whether ${sessionID} is a fork: ${errorText(error)}`)
      return undefined
    }
  }

  /** The task of which this is the child session. */
  findBySession(sessionID: string): Task | undefined {
    return this.#rooms.store.findBySession(sessionID)
  }

  /** How many wait for a slot before this task; `undefined` where it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    return this.#rooms.executor.placeInQueue(taskID)
  }

  /** For how many milliseconds nothing was heard of a task at work, where that is long enough to say so. */
  stalledFor(taskID: string): number | undefined {
    const task = this.#rooms.store.get(taskID)
    const silentMs = task && this.#rooms.agents.silentMs(task.sessionID)
    if (silentMs === undefined || this.#stalledAfterMs === 0) return undefined
    return silentMs >= this.#stalledAfterMs ? silentMs : undefined
  }

  /**
   * For how many milliseconds more the start of a pending task is held back because its provider is overloaded;
   * `undefined` where it is not.
   */
  heldFor(taskID: string): number | undefined {
    const task = this.#rooms.store.get(taskID)
    return task?.status === 'pending' && 'model' in task && task.model
      ? this.#rooms.backoff.heldFor(task.model.providerID)
      : undefined
  }

  /** The provider's retry that a task at work waits for; `undefined` where there is none. */
  retryOf(taskID: string): Retry | undefined {
    const task = this.#rooms.store.get(taskID)
    return task && this.#rooms.backoff.retryOf(task.sessionID)
  }

  /** How many answers in a row got an agent at work nowhere: no tool call, and no finish that is known. */
  loopsOf(taskID: string): number {
    const task = this.#rooms.store.get(taskID)
    return task ? this.#rooms.agents.loopsOf(task.sessionID) : 0
  }

  /** What happened to a task, since this process knows it; `undefined` for one that is unknown or has ended long ago. */
  story(taskID: string): Story | undefined {
    return this.#rooms.timeline.of(taskID)
  }

  /** The name of the sub-agent that is meant. Rejects with a `ToolError` where there is none. */
  async subagent(name: string): Promise<string> {
    return (await this.#rooms.catalogue.agent(name)).name
  }

  /** The names of the agents that can be handed a task. Rejects with a `HostError`. */
  subagents(): Promise<readonly string[]> {
    return this.#rooms.catalogue.subagents()
  }

  /** Waits for the end of a task. Rejects with a `ToolError` for an unknown task. */
  async waitForCompletion(taskID: string, options: WaitOptions = {}): Promise<WaitResult> {
    const hold = this.#hold(taskID, options.reader)
    try {
      const result = await this.#wait(taskID, options)
      if (result.type === 'ended') hold?.read(result.task)
      return result
    } finally {
      hold?.release()
    }
  }

  /**
   * Looks at a task, after a wait for its end where `timeoutMs` is given. Rejects with a `ToolError` for an unknown task,
   * and with a `HostError` where its session could not be read; its notice is then still owed.
   */
  async output(taskID: string, options: OutputOptions = {}): Promise<TaskReport> {
    const { timeoutMs, reader } = options
    const hold = this.#hold(taskID, reader)
    try {
      if (timeoutMs !== undefined) await this.#waitToRead(taskID, options)
      const task = this.#task(taskID)
      const report = await this.#kindOf(task).report(task, options)
      if (isEnded(task)) hold?.read(task)
      return { task, ...report, receipt: receiptOf(task) }
    } finally {
      hold?.release()
    }
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first. Rejects with a
   * `ToolError` for an unknown task.
   */
  async cancel(taskID: string): Promise<EndedTask> {
    const task = await this.#rooms.executor.cancel(taskID, 'parent')
    if (!task) throw unknownTask(taskID)
    // Nobody is to be told of it after a crash.
    await this.#rooms.records.written(task.sessionID)
    return task
  }

  /** Whether a task has ended, and something that it has started runs on. */
  hasLeftovers(taskID: string): boolean {
    const task = this.#rooms.store.get(taskID)
    return task !== undefined && this.#kindOf(task).hasLeftovers(task)
  }

  /** Ends the processes that an ended task has left running. Resolves with whether there were any. */
  async killLeftovers(taskID: string): Promise<boolean> {
    const task = this.#rooms.store.get(taskID)
    return task !== undefined && this.#kindOf(task).killLeftovers(task)
  }

  /** Stops all that a session launched; resolves with how many were cancelled, when they have really stopped. */
  async cancelAll(parentID: string): Promise<number> {
    const unfinished = [...(this.#rooms.parents.find(parentID)?.tasks.unfinishedIDs ?? [])]
    const ended = await Promise.all(unfinished.map((taskID) => this.cancel(taskID)))
    return ended.filter((task) => task?.status === 'cancelled').length
  }

  /**
   * Finds the tasks of a session again that were left behind by a restart. Asks the host once for each session, when
   * something is first done in it. Never rejects.
   */
  recover(parentID: string): Promise<void> {
    return this.#rooms.recovery.recover(parentID)
  }

  /** The hooks by which this manager learns what happens in OpenCode, to be spread into what a plugin returns. */
  hooks(): ManagerHooks {
    return this.#hooks
  }

  /**
   * Calls the listener with each step of each task from now on: its transitions, its tool calls, and what becomes of its
   * notices. The steps of a task so far are in `story`. Returns how to stop that.
   */
  on(listener: StepListener): () => void {
    return this.#rooms.timeline.subscribe(listener)
  }

  /**
   * The instance ends: what is unfinished is recorded as interrupted.
   */
  async dispose(): Promise<void> {
    this.#problems.dispose()
    this.#rooms.disposal.abort()
    this.#rooms.parents.dispose()
    this.#rooms.executor.dispose()
    this.#rooms.commands.dispose()
    this.#rooms.orphans.dispose()
    this.#rooms.agents.dispose()
    this.#rooms.permissions.dispose()
    this.#rooms.backoff.dispose()
    await this.#rooms.records.flush()
  }

  /** Throws a `ToolError` where there is no such task. */
  #task(taskID: string): Task {
    const task = this.#rooms.store.get(taskID)
    if (!task) throw unknownTask(taskID)
    return task
  }

  /** `undefined` where the reader says nothing of what the task's parent reads. */
  #hold(taskID: string, reader: Reader | undefined): Hold | undefined {
    const task = this.#task(taskID)
    if (reader?.sessionID !== task.parentID) return undefined
    return this.#rooms.parents.of(task.parentID).outbox.hold(task, reader)
  }

  async #wait(taskID: string, { timeoutMs = 0, signal }: WaitOptions): Promise<WaitResult> {
    const { store } = this.#rooms
    const { clock } = this.#ports
    const task =
      (await waitFor({ store, clock }, taskID, isEnded, { timeoutMs, signal })) ?? this.#task(taskID)
    if (isEnded(task)) return { type: 'ended', task }
    return { type: signal?.aborted ? 'aborted' : 'timedOut', task }
  }

  /** Waits no longer when a person writes in the session whose tool call waits. */
  async #waitToRead(taskID: string, options: OutputOptions): Promise<void> {
    const { reader, signal } = options
    const wait = (ended?: AbortSignal): Promise<WaitResult> =>
      this.#wait(taskID, { ...options, ...(ended && { signal: ended }) })
    await (reader ? this.#rooms.parents.of(reader.sessionID).waits.during(signal, wait) : wait(signal))
  }

  #kindOf(task: Task): WorkKind<Task> {
    return kindOf(this.#rooms.kinds, task)
  }
}
