/**
 * The door to background tasks: launches them, looks at them, stops them, and passes the host's events on to the rooms
 * that wait for them. It holds no state of tasks; that is the store's.
 */
import type { Hooks } from '@opencode-ai/plugin'
import { Catalogue } from './catalogue.ts'
import { systemClock, type Clock } from './clock.ts'
import { parseOptions, type Options, type OptionsInput } from './config.ts'
import { Continuer, type Changes } from './continuer.ts'
import { Launcher, type LaunchRequest } from './launcher.ts'
import { hostLog, type Log } from './log.ts'
import { Patience } from './parent/patience.ts'
import { unfinishedText } from './parent/notice.ts'
import {
  connect,
  errorText,
  HostError,
  type Client,
  type Event,
  type Opencode,
  type StoredMessage,
} from './opencode.ts'
import { Gate } from './parent/gate.ts'
import { Outbox } from './parent/outbox.ts'
import { Recovery } from './recovery.ts'
import { Detector } from './run/detector.ts'
import { Executor } from './run/executor.ts'
import { Permissions } from './run/permissions.ts'
import { Quota } from './run/quota.ts'
import { Scheduler } from './run/scheduler.ts'
import { SessionRunner } from './run/session-runner.ts'
import { readTranscript, type Transcript } from './run/transcript.ts'
import { StatusPoll } from './status.ts'
import { systemOwners, type Owners } from './task/owner.ts'
import { TaskRecords } from './task/record.ts'
import { TaskStore } from './task/store.ts'
import { until } from './task/until.ts'
import { isEnded, type EndedTask, type Task } from './task/task.ts'
import { ToolError } from './tool-error.ts'

export interface ManagerInput {
  /** The client that OpenCode hands to a plugin. */
  readonly client: Client
  /** The project's directory, which OpenCode hands to a plugin too. */
  readonly directory: string
  /**
   * Its own among the managers of a project; default: `library`. After a restart, tasks are recovered by the manager of
   * the name under which they were launched.
   */
  readonly name?: string
  /** The options of the plugin. One that is not understood falls back to its default, and is named in `problems`. */
  readonly options?: OptionsInput
}

/** What the manager touches the world with; tests have their own. */
export interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly owners: Owners
}

export interface OutputOptions {
  /** Wait for its end first: for so many milliseconds, 0 for as long as it takes. Left out: do not wait. */
  readonly timeoutMs?: number
  /** Ends the wait. Nobody reads what is found then, so that a notice is still owed. */
  readonly signal?: AbortSignal
}

export interface TaskReport {
  readonly task: Task
  /** What its session says of the run; `undefined` before it has started, and when the session was deleted. */
  readonly transcript: Transcript | undefined
  /** All messages of its session, those of earlier runs too, the oldest first. */
  readonly messages: readonly StoredMessage[]
}

/** An event as the hook `event` is given it. */
export type PluginEvent = Parameters<NonNullable<Hooks['event']>>[0]['event']

/** What the hook `chat.message` is given of a message that is about to be stored. */
export interface NewMessage {
  readonly message: { readonly id: string; readonly time: { readonly created: number } }
  /** More can be pushed onto it. */
  readonly parts: object[]
}

/**
 * How long after an interruption the tasks are cancelled that are to be: an instance that ends interrupts its sessions
 * first, some milliseconds before it says so (contract 9.4), and that is nobody's wish to cancel.
 */
const INTERRUPTION_SETTLES_MS = 500

export class BackgroundManager {
  /** One sentence for each option that was not understood. */
  readonly problems: readonly string[]
  readonly #opencode: Opencode
  readonly #clock: Clock
  readonly #log: Log
  readonly #store = new TaskStore()
  readonly #catalogue: Catalogue
  readonly #records: TaskRecords
  readonly #scheduler: Scheduler
  readonly #detector: Detector
  readonly #executor: Executor
  readonly #permissions: Permissions
  readonly #quota: Quota
  readonly #gate: Gate
  readonly #launcher: Launcher
  readonly #continuer: Continuer
  readonly #outbox: Outbox
  readonly #recovery: Recovery
  readonly #patience: Patience
  readonly #stalledAfterMs: number
  /** Of the problems, those that no user was told of yet. */
  #untold: readonly string[]
  /** Aborted when the instance ends. */
  readonly #disposal = new AbortController()

  constructor(input: ManagerInput, ports?: Ports) {
    const { options, problems } = parseOptions(input.options)
    const { opencode, clock, log, owners } = ports ?? realPorts(input, options)
    this.problems = problems
    this.#untold = problems
    this.#stalledAfterMs = options.stalledAfterMs
    this.#opencode = opencode
    this.#clock = clock
    this.#log = log
    const store = this.#store
    const statuses = new StatusPoll({ opencode, clock, log }, options.pollMs)
    this.#catalogue = new Catalogue(opencode)
    this.#scheduler = new Scheduler(options.concurrency)
    this.#detector = new Detector({ opencode, clock, log, statuses })
    const runner = new SessionRunner(
      { opencode, log, store, detector: this.#detector },
      options.startTimeoutMs,
    )
    this.#executor = new Executor({ clock, store, runner, scheduler: this.#scheduler }, options.timeoutMs)
    this.#quota = new Quota({ clock, store, scheduler: this.#scheduler })
    this.#permissions = new Permissions(
      { opencode, clock, log, store, statuses },
      options.permissionTimeoutMs,
    )
    this.#records = new TaskRecords({ opencode, log, store }, owners.self)
    this.#gate = new Gate(opencode)
    this.#outbox = new Outbox({ opencode, clock, log, store, statuses, gate: this.#gate }, options.notify)
    this.#patience = new Patience({ clock, store, outbox: this.#outbox }, options.run.waitMs)
    const rooms = { clock, store, catalogue: this.#catalogue, records: this.#records }
    this.#recovery = new Recovery({ ...rooms, opencode, log, owners, outbox: this.#outbox })
    this.#launcher = new Launcher({ ...rooms, gate: this.#gate }, options)
    this.#continuer = new Continuer({
      ...rooms,
      launcher: this.#launcher,
      runner,
      started: (taskID) => until({ store, clock }, taskID, (task) => task.status !== 'starting'),
      enqueue: (task) => this.#executor.enqueue(task),
    })
    if (options.onInterrupt === 'cancel') {
      this.#gate.subscribe((parentID, change) => {
        if (change === 'interrupted') this.#cancelSoon(parentID)
      })
    }
    store.subscribe((task, event) => log.debug(`${task.id}: ${event.type}, ${task.status}`))
  }

  /**
   * Creates the child session and queues its start; resolves as soon as the record exists, whatever the queue holds.
   * Rejects with a `ToolError` where the request cannot be met; nothing is created then.
   */
  async launch(request: LaunchRequest): Promise<Task> {
    const task = await this.#launcher.launch(request)
    this.#executor.enqueue(task)
    return this.#store.get(task.id) ?? task
  }

  /**
   * Says more to a task: a pending one gets it in its prompt, a running one reads it at its next step, and one that
   * has ended starts its next run in the same session. Resolves with the task as it then is. Rejects with a
   * `ToolError` where it cannot be done.
   */
  continue(taskID: string, prompt: string, changes: Changes = {}): Promise<Task> {
    return this.#continuer.continue(taskID, prompt, changes)
  }

  get(taskID: string): Task | undefined {
    return this.#store.get(taskID)
  }

  /** What a session launched, the oldest first. */
  list(parentID: string): readonly Task[] {
    return this.#store.listByParent(parentID)
  }

  /** The task of which this is the child session. */
  findBySession(sessionID: string): Task | undefined {
    return this.#store.findBySession(sessionID)
  }

  /** How many wait for a slot before this task; `undefined` where it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    return this.#scheduler.place(taskID)
  }

  /** For how many milliseconds nothing was heard of a task at work, where that is long enough to say so. */
  stalledFor(taskID: string): number | undefined {
    const task = this.#store.get(taskID)
    const heardAt = task && this.#detector.heardOf(task.sessionID)
    if (heardAt === undefined || this.#stalledAfterMs === 0) return undefined
    const silentMs = this.#clock.now() - heardAt
    return silentMs >= this.#stalledAfterMs ? silentMs : undefined
  }

  /**
   * Until when the start of a pending task is held back because its provider is overloaded, in milliseconds since the
   * Unix epoch; `undefined` where it is not.
   */
  heldUntil(taskID: string): number | undefined {
    const task = this.#store.get(taskID)
    return task?.status === 'pending' && task.model ? this.#quota.heldUntil(task.model.providerID) : undefined
  }

  /** The names of the agents that can be handed a task. Rejects with a `HostError`. */
  subagents(): Promise<readonly string[]> {
    return this.#catalogue.subagents()
  }

  /**
   * Resolves with the ended task, or with `undefined` when the time is over, when the signal was given, and for an
   * unknown task.
   *
   * @param timeoutMs milliseconds; 0: no limit
   */
  async waitForCompletion(
    taskID: string,
    timeoutMs = 0,
    signal?: AbortSignal,
  ): Promise<EndedTask | undefined> {
    const ports = { store: this.#store, clock: this.#clock }
    const task = await until(ports, taskID, isEnded, { timeoutMs, signal })
    return task && isEnded(task) ? task : undefined
  }

  /**
   * Looks at a task on behalf of its parent, which settles the notice of an ended one. Where it is to wait, the notice
   * is kept back meanwhile. Rejects with a `ToolError` for an unknown task, and with a `HostError` where its session
   * could not be read; its notice is then still owed.
   */
  async output(taskID: string, { timeoutMs, signal }: OutputOptions = {}): Promise<TaskReport> {
    const release = this.#outbox.hold(taskID)
    try {
      if (timeoutMs !== undefined) await this.waitForCompletion(taskID, timeoutMs, signal)
      const task = this.#store.get(taskID)
      if (!task) throw new ToolError(`There is no task ${taskID}.`)
      const messages = await this.#messages(task)
      // Of a caller that was interrupted the host throws the answer away.
      if (isEnded(task) && !signal?.aborted) this.#outbox.settle(task)
      const transcript = messages.length === 0 ? undefined : readTranscript(messages, task.promptIDs)
      return { task, transcript, messages }
    } finally {
      release()
    }
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first.
   * Resolves with `undefined` for an unknown task.
   */
  cancel(taskID: string): Promise<EndedTask | undefined> {
    return this.#executor.cancel(taskID, 'parent')
  }

  /** Stops all that a session launched; resolves with how many were cancelled, when they have really stopped. */
  async cancelAll(parentID: string): Promise<number> {
    const unfinished = this.list(parentID).filter((task) => !isEnded(task))
    const ended = await Promise.all(unfinished.map((task) => this.cancel(task.id)))
    return ended.filter((task) => task?.status === 'cancelled').length
  }

  /** To be called with each event of the host. Synchronous, and cheap for an event that concerns no task. */
  handleEvent(told: Event | PluginEvent): void {
    // The types of plugins describe the same events in an older form.
    const event = told as Event
    switch (event.type) {
      case 'session.status':
      case 'session.error':
        this.#gate.handleEvent(event)
        this.#detector.handleEvent(event)
        this.#quota.handleEvent(event)
        return
      case 'session.updated':
        this.#gate.handleEvent(event)
        this.#records.handleEvent(event)
        return
      case 'session.deleted': {
        this.#gate.handleEvent(event)
        this.#detector.handleEvent(event)
        const task = this.#store.findBySession(event.properties.info.id)
        if (task) this.#executor.cancelPending(task.id, 'user')
        return
      }
      case 'message.part.delta':
      case 'message.part.updated':
        this.#detector.hear(event.properties.sessionID)
        return
      case 'message.updated':
        this.#gate.handleEvent(event)
        this.#outbox.handleEvent(event)
        return
      case 'permission.asked':
      case 'permission.replied':
        this.#permissions.handleEvent(event)
        return
      case 'message.removed':
        this.#outbox.handleEvent(event)
        return
      default:
        return
    }
  }

  /**
   * Finds the tasks of a session again that were left behind by a restart. Asks the host once for each session, when
   * something is first done in it. Never rejects.
   */
  recover(parentID: string): Promise<void> {
    return this.#recovery.recover(parentID)
  }

  /**
   * To be called from the hook `chat.message`: where a person writes to a session that is owed notices, they go along
   * as parts of that message. Never rejects, since that would cost the user the message (contract 1.13).
   */
  async handleChatMessage(
    { sessionID }: { readonly sessionID: string },
    { message, parts }: NewMessage,
  ): Promise<void> {
    try {
      if (!parts.some(isPersonal) || this.#outbox.isOurs(message.id)) return
      if (this.#store.findBySession(sessionID)) return
      await this.recover(sessionID)
      this.#tellProblems()
      this.#gate.personWrote(sessionID, message.time.created)
      const notices = this.#outbox.takeAlong(sessionID, message.id)
      parts.push(...notices.map((part) => ({ ...part, sessionID, messageID: message.id, type: 'text' })))
    } catch (error) {
      this.#log.warn(`notices could not go along with ${message.id}: ${String(error)}`)
    }
  }

  /**
   * To be called from the hook `experimental.text.complete` in a process that ends when its session is idle, as
   * `opencode run` does: resolves when the session has a notice to go on with, or nothing to wait for.
   */
  waitForNotice(parentID: string): Promise<void> {
    return this.#patience.wait(parentID)
  }

  /** To be given to a model that sums a session up: what is at work for it, so that it still knows. */
  compactionContext(sessionID: string): readonly string[] {
    return unfinishedText(this.list(sessionID).filter((task) => !isEnded(task)))
  }

  /**
   * The instance ends: what is unfinished is recorded as interrupted.
   */
  async dispose(): Promise<void> {
    this.#outbox.dispose()
    this.#disposal.abort()
    this.#executor.dispose()
    this.#detector.dispose()
    this.#permissions.dispose()
    this.#quota.dispose()
    await this.#records.flush()
  }

  /** Only now that somebody writes is there surely somebody who sees it. */
  #tellProblems(): void {
    if (this.#untold.length === 0) return
    const text = this.#untold.map((problem) => `option ${problem}`).join('\n')
    this.#untold = []
    this.#log.warn(text)
    this.#opencode.warn(text).catch((error: unknown) => this.#log.warn(errorText(error)))
  }

  /** The user has interrupted the parent, and wants its tasks to stop with it. */
  #cancelSoon(parentID: string): void {
    const { signal } = this.#disposal
    const cancelTimer = this.#clock.after(INTERRUPTION_SETTLES_MS, () => {
      signal.removeEventListener('abort', cancelTimer)
      for (const task of this.list(parentID)) if (!isEnded(task)) void this.#executor.cancel(task.id, 'user')
    })
    signal.addEventListener('abort', cancelTimer)
  }

  /** None before the first prompt, and none of a session that was deleted. */
  async #messages(task: Task): Promise<readonly StoredMessage[]> {
    if (task.status === 'pending' && task.run === 1) return []
    try {
      return await this.#opencode.messages(task.sessionID)
    } catch (error) {
      // Anything else can be tried again.
      if (error instanceof HostError && error.reason === 'notFound') return []
      throw error
    }
  }
}

function realPorts({ client, directory, name = 'library' }: ManagerInput, options: Options): Ports {
  const clock = systemClock
  const opencode = connect(client, directory, clock)
  const log = hostLog((level, message) => opencode.log(level, message), options)
  return { opencode, clock, log, owners: systemOwners(name, directory) }
}

/** What no person wrote is marked as synthetic: the notices of any plugin, and the host's own messages. */
function isPersonal(part: object): boolean {
  return !('synthetic' in part) || part.synthetic !== true
}
