/**
 * The entry to background tasks: launches, reads and stops them, and offers the hooks through which
 * OpenCode's events reach the rooms. The store holds the state of tasks; this class holds none.
 */
import { parseOptions, type OptionsInput } from './config.ts'
import type { LaunchRequest } from './work/agent/agent-launch.ts'
import type { Worktree } from './work/agent/agent-work.ts'
import { checkMonitor, type CommandRequest } from './work/command/command-launch.ts'
import type { Surroundings } from './work/command/this-machine.ts'
import type { NextRunOptions } from './launch/continuer.ts'
import { hooksOf, type ManagerHooks } from './hooks.ts'
import { errorText, type Client } from './host/opencode.ts'
import { Problems } from './setup/problems.ts'
import type { OthersTask } from './parent/parent-tasks.ts'
import { realPorts, type Ports } from './ports.ts'
import { buildRooms, type Rooms } from './rooms.ts'
import type { Retry } from './work/agent/provider-backoff.ts'
import type { StepListener, Story } from './timeline.ts'
import type { BudgetUse } from './task/budget-use.ts'
import {
  TaskReader,
  type OutputOptions,
  type TaskReport,
  type WaitOptions,
  type WaitResult,
} from './task-reader.ts'
import { NO_USAGE, type Applied, type Usage } from './task/state.ts'
import type { CommandTask, EndedTask, Task } from './task/task.ts'
import { ToolError, unknownTask } from './tool-error.ts'
import type { NamedTools, ToolNames } from './tool-names.ts'

export interface ManagerInput {
  /** The client that OpenCode passes to a plugin. */
  readonly client: Client
  /** The project's directory, which OpenCode passes to a plugin too. */
  readonly directory: string
  /**
   * Unique among the managers of a project. After a restart, a manager recovers the tasks of its name. A
   * manager without a name recovers those of any nameless manager, but only once its process has ended.
   */
  readonly name?: string | undefined
  /** The URL of OpenCode's server, which it passes to a plugin too; needed for the option `tmux` alone. */
  readonly serverUrl?: URL | undefined
  /** The tools that notices may name. */
  readonly tools?: NamedTools | undefined
  /** The options of the plugin. An invalid option falls back to its default, and `problems` names it. */
  readonly options?: OptionsInput | undefined
}

export type { OthersTask } from './parent/parent-tasks.ts'

const SHELL_ENV_UNHEARD =
  'another plugin adds variables to shell commands (shell.env), which background commands lack; ' +
  'the option commands.shellEnv: true gives them those'

export class BackgroundManager {
  /** @internal The names of this plugin's own tools. */
  readonly toolNames: ToolNames
  /** Whether agents get the tools for commands, and the default timeout of a command in milliseconds. */
  readonly commands: { readonly enabled: boolean; readonly timeoutMs: number }
  readonly #ports: Ports
  readonly #rooms: Rooms
  readonly #reader: TaskReader
  readonly #hooks: ManagerHooks
  readonly #problems: Problems
  /** The promise of `follow`; `undefined` while it was not called. */
  #following: Promise<void> | undefined
  readonly #stalledAfterMs: number
  readonly #hasShellEnv: boolean
  /** The command line that runs in a new worktree; '': none. */
  readonly #setup: string

  constructor(input: ManagerInput)
  /** @internal Tests pass their own ports. */
  constructor(input: ManagerInput, ports?: Ports)
  constructor(input: ManagerInput, ports?: Ports) {
    const { options, problems } = parseOptions(input.options)
    const { client, directory, name, serverUrl, tools } = input
    this.#ports = ports ?? realPorts(client, directory, name, options, serverUrl)
    this.#rooms = buildRooms(this.#ports, options, tools)
    this.#reader = new TaskReader({ ...this.#rooms, clock: this.#ports.clock })
    this.toolNames = this.#rooms.names
    this.#problems = new Problems(this.#ports)
    for (const problem of problems) this.#problems.add(`option ${problem}`)
    if (options.tmux.enabled && !serverUrl)
      this.#problems.add('option tmux: there are no panes without serverUrl')
    if (options.afterRestart === 'continue' && name === undefined)
      this.#problems.add('option afterRestart: a manager without a name continues nothing')
    // Commands need a POSIX shell, and process sessions to end what they start.
    const enabled = options.commands.enabled && process.platform !== 'win32'
    this.commands = { ...options.commands, enabled }
    this.#stalledAfterMs = options.stalledAfterMs
    this.#hasShellEnv = options.commands.shellEnv
    this.#setup = options.worktree.setup
    this.#hooks = hooksOf(this.#rooms, this.#ports, this.#problems, () => this.dispose())
  }

  /** Returns one sentence for each invalid option, and for each reported problem. */
  get problems(): readonly string[] {
    return this.#problems.all
  }

  /** @internal Reports a problem in this plugin's own setup once: in a toast and in OpenCode's log. */
  report(problem: string): void {
    this.#problems.add(problem)
  }

  /** @internal The allowed values of `where`; none without machines and fleet. */
  get places(): readonly string[] {
    return this.#rooms.places
  }

  /** @internal The default shell of commands, and their environment. */
  get machine(): Surroundings {
    return this.#ports.machine
  }

  /**
   * Creates the child session and queues its start. Resolves as soon as the record exists, whatever the queue
   * holds. Rejects with a `ToolError` if the request cannot be met; nothing is created then.
   */
  async launch(request: LaunchRequest): Promise<Task> {
    await this.#rooms.order.check(request)
    const task = await this.#rooms.launcher.launch(this.#rooms.launches.agent, request)
    await this.#rooms.order.enqueue(task)
    return this.#rooms.store.now(task)
  }

  /**
   * @internal Returns the command line that a run of this agent begins with, '' for none: its permissions are to be requested.
   *
   * @param worktree whether the agent gets a worktree, or its existing one; `undefined`: the option `worktree.agents` decides
   */
  async setupOf(agent: string, worktree: boolean | Worktree | undefined): Promise<string> {
    const { isIsolated, worktrees } = this.#rooms
    if (this.#setup === '' || !(worktree ?? isIsolated(agent))) return ''
    const isDone = typeof worktree === 'object' && !(await (await worktrees()).isSetupDue(worktree))
    return isDone ? '' : this.#setup
  }

  /** @internal Rejects with a `ToolError` unless each of these entries is an expression for `notifyEvery`. */
  checkMonitor(notifyOn: readonly string[]): Promise<void> {
    return checkMonitor({ notifyOn })
  }

  /** Queues a shell command, and resolves and rejects as `launch` does. It requests no permission. */
  async launchCommand(request: CommandRequest): Promise<CommandTask> {
    if (!this.#hasShellEnv && this.#rooms.shellEnv.isAddedTo) this.report(SHELL_ENV_UNHEARD)
    const task = await this.#rooms.launcher.launch(this.#rooms.launches.command, request)
    this.#rooms.executor.enqueue(task)
    return this.#rooms.store.now(task)
  }

  /**
   * Sends a further prompt to a task: a pending task appends it to its prompt, a running one reads it at its
   * next step, and an ended one starts its next run in the same session. Resolves with the current task.
   * Rejects with a `ToolError` if the task cannot accept the prompt.
   */
  continue(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    return this.#rooms.continuer.continue(taskID, prompt, changes)
  }

  get(taskID: string): Task | undefined {
    return this.#rooms.store.get(taskID)
  }

  /** Returns the tasks that a session launched, the oldest first. */
  list(parentID: string): readonly Task[] {
    return this.#rooms.parents.find(parentID)?.tasks.list() ?? []
  }

  /** Returns the total usage of the ended runs of agents that a session launched. */
  used(parentID: string): Usage {
    return this.#rooms.parents.find(parentID)?.tasks.used ?? NO_USAGE
  }

  /** Resolves with the budget of a task, and what its runs have used of it so far; `undefined` if it has none. */
  async budget(taskID: string): Promise<BudgetUse | undefined> {
    const task = this.#rooms.store.get(taskID)
    return task && (await this.#rooms.budgetsFor(task))?.ofTask(task)
  }

  /** Resolves with the budget of a session, and what its tasks have used of it so far; `undefined` if it has none. */
  async sessionBudget(parentID: string): Promise<BudgetUse | undefined> {
    return (await this.#rooms.budgetsFor())?.ofSession(parentID)
  }

  /**
   * Resolves with the model of a task whose budget, or whose session's, limits the cost although OpenCode knows no prices of the
   * model, so that this limit has no effect; `undefined` for any other task. Rejects with a `HostError`.
   */
  async unpricedModel(taskID: string): Promise<string | undefined> {
    const task = this.#rooms.store.get(taskID)
    return task && (await this.#rooms.budgetsFor(task))?.unpricedModel(task)
  }

  /** Returns a session's tasks that another living process runs: that process reports their ends. */
  others(parentID: string): readonly OthersTask[] {
    return this.#rooms.parents.find(parentID)?.tasks.others ?? []
  }

  /**
   * Returns the session that launched the task, if this session is a fork of it; `undefined` if it is not, or
   * if its history cannot be read.
   *
   * @param taskID default: the newest task in the history
   */
  async forkedFrom(sessionID: string, taskID?: string): Promise<string | undefined> {
    try {
      // Loaded lazily, because few sessions are forks.
      const { forkedFrom } = await import('./parent/forks.ts')
      return await forkedFrom(this.#ports.opencode, sessionID, taskID)
    } catch (error) {
      this.#ports.log.warn(`could not look whether ${sessionID} is a fork: ${errorText(error)}`)
      return undefined
    }
  }

  /** Returns the task of a child session. */
  findBySession(sessionID: string): Task | undefined {
    return this.#rooms.store.findBySession(sessionID)
  }

  /** Returns how many tasks wait for a slot before this one; `undefined` if it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    return this.#rooms.executor.placeInQueue(taskID)
  }

  /** Returns the ids of the unfinished tasks for which a pending task waits (`after`); empty if it waits for none. */
  waitsFor(taskID: string): readonly string[] {
    return this.#rooms.order.awaited(taskID)
  }

  /** Returns the milliseconds since the last event of a running task, once they reach `stalledAfterMs`. */
  stalledFor(taskID: string): number | undefined {
    const task = this.#rooms.store.get(taskID)
    const silentMs = task && this.#rooms.agents.silentMs(task.sessionID)
    if (silentMs === undefined || this.#stalledAfterMs === 0) return undefined
    return silentMs >= this.#stalledAfterMs ? silentMs : undefined
  }

  /**
   * Returns for how many more milliseconds the provider backoff delays the start of a pending task;
   * `undefined` if it does not.
   */
  heldFor(taskID: string): number | undefined {
    const task = this.#rooms.store.get(taskID)
    return task?.status === 'pending' && 'model' in task && task.model
      ? this.#rooms.backoff.heldFor(task.model.providerID)
      : undefined
  }

  /** Returns the provider's retry for which a running task waits; `undefined` if there is none. */
  retryOf(taskID: string): Retry | undefined {
    const task = this.#rooms.store.get(taskID)
    return task && this.#rooms.backoff.retryOf(task.sessionID)
  }

  /** Returns how many answers in a row of a running agent had neither a tool call nor a known finish. */
  loopsOf(taskID: string): number {
    const task = this.#rooms.store.get(taskID)
    return task ? this.#rooms.agents.loopsOf(task.sessionID) : 0
  }

  /** Returns the steps of a task; `undefined` for a task that is unknown or has ended long ago. */
  story(taskID: string): Story | undefined {
    return this.#rooms.timeline.of(taskID)
  }

  /** Returns the exact name of a sub-agent. Rejects with a `ToolError` if none has this name. */
  async subagent(name: string): Promise<string> {
    return (await this.#rooms.catalogue.agent(name)).name
  }

  /** Returns the names of the agents that can run a task, without hidden ones. Rejects with a `HostError`. */
  subagents(): Promise<readonly string[]> {
    return this.#rooms.catalogue.subagents()
  }

  /** Waits for the end of a task. Rejects with a `ToolError` for an unknown task. */
  waitForCompletion(taskID: string, options: WaitOptions = {}): Promise<WaitResult> {
    return this.#reader.waitForCompletion(taskID, options)
  }

  /**
   * Reads a task, after waiting for its end if `timeoutMs` is given. Rejects with a `ToolError` for an
   * unknown task, and with a `HostError` if its session cannot be read; its notice is then still owed.
   */
  output(taskID: string, options: OutputOptions = {}): Promise<TaskReport> {
    return this.#reader.output(taskID, options)
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless it ended first. Without contact with its
   * machine, resolves with the unfinished task, which stops once that answers. Rejects with a `ToolError` for an unknown task.
   */
  async cancel(taskID: string): Promise<Task> {
    const task = await this.#rooms.executor.cancel(taskID, 'parent')
    if (!task) throw unknownTask(taskID)
    // After a crash, the record prevents a notice of this end.
    await this.#rooms.records.written(task.sessionID)
    return task
  }

  /**
   * Writes the changes of an ended task's worktree into its parent's checkout, unstaged. Writes nothing if any change conflicts.
   * Requests no permission. Rejects with a `ToolError` if there are no changes or git fails.
   *
   * @param options `check`: reports the result without writing
   */
  async apply(taskID: string, { check = false }: { readonly check?: boolean } = {}): Promise<Applied> {
    const task = this.#reader.task(taskID)
    try {
      return await (await this.#rooms.worktrees()).apply(task, check)
    } catch (error) {
      throw new ToolError(`${taskID}: ${errorText(error)}`, 'wrongState', { cause: error })
    }
  }

  /** Whether an ended task has leftover processes. */
  hasLeftovers(taskID: string): boolean {
    const task = this.#rooms.store.get(taskID)
    return (task && this.#rooms.kindOf(task).hasLeftovers?.(task)) ?? false
  }

  /** Kills the leftover processes of an ended task. Resolves with whether there were any. */
  async killLeftovers(taskID: string): Promise<boolean> {
    const task = this.#rooms.store.get(taskID)
    return (task && this.#rooms.kindOf(task).killLeftovers?.(task)) ?? false
  }

  /** Cancels a session's unfinished tasks. Resolves with how many were cancelled, once all have stopped. */
  async cancelAll(parentID: string): Promise<number> {
    const unfinished = this.#rooms.parents.find(parentID)?.tasks.cancelOrder ?? []
    const ended = await Promise.all(unfinished.map((taskID) => this.cancel(taskID)))
    return ended.filter((task) => task.status === 'cancelled').length
  }

  /**
   * Recovers the tasks of a session from before a restart. Later calls do nothing, unless the first one
   * failed or another process still runs tasks of the session. Never rejects.
   *
   * @param options `again`: looks again, because another process may have launched tasks since
   */
  recover(parentID: string, options: { readonly again?: boolean } = {}): Promise<void> {
    return this.#rooms.recovery.recover(parentID, options)
  }

  /** Returns the hooks through which this manager observes OpenCode, to be spread into a plugin's own. */
  hooks(): ManagerHooks {
    return this.#hooks
  }

  /**
   * Follows OpenCode's event stream, for a manager in another process than OpenCode, where no hook brings the events. A
   * stream that breaks is subscribed to again until `dispose`, and missed events are read. Resolves when OpenCode has confirmed
   * the first subscription, however long the server is away. Rejects with a `HostError` if the server refuses the client
   * (`unauthorized`), or is no OpenCode (`notFound`). Later calls return the same promise.
   */
  follow(): Promise<void> {
    if (!this.#following) {
      this.#rooms.agents.resumeLeftTurns()
      this.#following = this.#follow()
      // A rejection must not end the process of a caller that does not await it.
      this.#following.catch(() => {})
    }
    return this.#following
  }

  /**
   * Calls the listener with each step of each task from now on: transitions, tool calls, and the states of
   * notices. `story` has the steps so far. Returns a function that unsubscribes the listener.
   */
  on(listener: StepListener): () => void {
    return this.#rooms.timeline.subscribe(listener)
  }

  /**
   * @internal Counts the matching lines that are due as read, because an answer without a notice shows them. Returns whether
   * there were any.
   */
  readMatches(taskID: string): boolean {
    const task = this.#rooms.store.get(taskID)
    if (!task) return false
    const kind = this.#rooms.kindOf(task)
    const taken = kind.takeMatches?.(task)
    if (taken) kind.matchesWereTold?.(task, taken.monitored.notices)
    return taken !== undefined
  }

  /** @internal Settles an end that a caller without a session of OpenCode has received: no notice of it is owed. */
  settle(task: EndedTask): void {
    this.#rooms.parents.find(task.parentID)?.outbox.settle(task)
  }

  /** @internal Ends the instance and leaves its tasks as they are, for the next instance of this name to recover. */
  async detach(): Promise<void> {
    this.#problems.dispose()
    this.#rooms.parents.dispose()
    await this.#rooms.records.flush()
  }

  /** Ends the instance: records unfinished tasks as interrupted, and kills commands. */
  async dispose(): Promise<void> {
    this.#problems.dispose()
    // Inside of OpenCode, the end of the instance has stopped the agents.
    const stopped = this.#following && this.#rooms.agents.abortAll()
    this.#rooms.disposal.abort()
    this.#rooms.parents.dispose()
    this.#rooms.executor.dispose()
    this.#rooms.commands.dispose()
    this.#rooms.agents.dispose()
    this.#rooms.permissions.dispose()
    this.#rooms.backoff.dispose()
    await stopped
    await this.#rooms.records.flush()
  }

  async #follow(): Promise<void> {
    const { follow } = await import('./event-stream.ts')
    await follow(this.#rooms, this.#ports, this.#problems)
  }
}
