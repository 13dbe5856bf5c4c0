/**
 * The door to background tasks: launches them, looks at them, stops them, and passes the host's events on to the rooms
 * that wait for them. It holds no state of tasks; that is the store's.
 */
import type { Clock } from './clock.ts'
import type { Options } from './config.ts'
import type { Log } from './log.ts'
import { HostError, type Event, type Opencode } from './opencode.ts'
import { Launcher, type LaunchRequest } from './launcher.ts'
import { Gate } from './parent/gate.ts'
import { Outbox } from './parent/outbox.ts'
import { Detector } from './run/detector.ts'
import type { Runner } from './run/runner.ts'
import { Scheduler } from './run/scheduler.ts'
import { promptIDOf, SessionRunner } from './run/session-runner.ts'
import { readTranscript, type Transcript } from './run/transcript.ts'
import { StatusPoll } from './status.ts'
import { TaskRecords, type Owner } from './task/record.ts'
import { TaskStore } from './task/store.ts'
import { isEnded, NO_USAGE, type EndedTask, type Outcome, type Task } from './task/task.ts'
import { ToolError } from './tool-error.ts'

export interface WaitOptions {
  /** Milliseconds; 0: no limit. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface TaskReport {
  readonly task: Task
  /** What its session says of it; `undefined` before it has started, and when the session was deleted. */
  readonly transcript: Transcript | undefined
}

const INTERRUPTED: Outcome = {
  status: 'failed',
  failure: { reason: 'interrupted', message: 'OpenCode stopped before the task had ended' },
  text: '',
  usage: NO_USAGE,
}

export class BackgroundManager {
  readonly #opencode: Opencode
  readonly #clock: Clock
  readonly #store = new TaskStore()
  readonly #records: TaskRecords
  readonly #scheduler: Scheduler
  readonly #detector: Detector
  readonly #runner: Runner
  readonly #gate: Gate
  readonly #launcher: Launcher
  readonly #outbox: Outbox
  readonly #stops = new Map<string, AbortController>()
  /** Aborted when the instance ends. */
  readonly #disposal = new AbortController()

  constructor(ports: { opencode: Opencode; clock: Clock; log: Log }, options: Options, owner: Owner) {
    const { opencode, clock, log } = ports
    this.#opencode = opencode
    this.#clock = clock
    const store = this.#store
    const statuses = new StatusPoll(ports, options.pollMs)
    this.#scheduler = new Scheduler(options.concurrency)
    this.#detector = new Detector({ opencode, clock, log, statuses })
    this.#runner = new SessionRunner({ opencode, log, detector: this.#detector }, options.startTimeoutMs)
    this.#records = new TaskRecords({ opencode, log, store }, owner)
    this.#gate = new Gate(opencode)
    this.#outbox = new Outbox({ opencode, clock, log, store, statuses, gate: this.#gate }, options.notify)
    const { maxTasksPerSession } = options
    this.#launcher = new Launcher(
      { opencode, clock, store, records: this.#records, gate: this.#gate },
      { maxTasksPerSession },
    )
    store.subscribe((task, event) => log.debug(`${task.id}: ${event.type}, ${task.status}`))
  }

  /**
   * Creates the child session and queues its start; resolves as soon as the record exists, whatever the queue holds.
   * Rejects with a `ToolError` where the request cannot be met; nothing is created then.
   */
  async launch(request: LaunchRequest): Promise<Task> {
    const task = await this.#launcher.launch(request)
    this.#stops.set(task.id, new AbortController())
    // The instance may have ended while the child was created.
    if (this.#disposal.signal.aborted) this.#end(task.id, INTERRUPTED)
    else this.#scheduler.add(task.id, () => this.#run(task.id))
    return this.#store.get(task.id) ?? task
  }

  get(taskID: string): Task | undefined {
    return this.#store.get(taskID)
  }

  /** What a session launched, the oldest first. */
  list(parentID: string): readonly Task[] {
    return this.#store.listByParent(parentID)
  }

  /** How many wait for a slot before this task; `undefined` where it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    return this.#scheduler.place(taskID)
  }

  /** Resolves with the ended task, or with `undefined` when the time is over or the signal was given. */
  waitForCompletion(
    taskID: string,
    { timeoutMs = 0, signal }: WaitOptions = {},
  ): Promise<EndedTask | undefined> {
    return new Promise((resolve) => {
      const task = this.#store.get(taskID)
      if (!task || isEnded(task) || signal?.aborted) {
        resolve(task && isEnded(task) ? task : undefined)
        return
      }
      const finish = (ended?: EndedTask): void => {
        unsubscribe()
        cancelTimer()
        signal?.removeEventListener('abort', giveUp)
        resolve(ended)
      }
      const giveUp = (): void => finish()
      const unsubscribe = this.#store.subscribe((changed) => {
        if (changed.id === taskID && isEnded(changed)) finish(changed)
      })
      const cancelTimer = timeoutMs > 0 ? this.#clock.after(timeoutMs, giveUp) : () => {}
      signal?.addEventListener('abort', giveUp)
    })
  }

  /**
   * Looks at a task on behalf of its parent, which settles the notice of an ended one. With `wait`, first waits for
   * its end, and keeps its notice back meanwhile. Rejects with a `ToolError` for an unknown task, and with a
   * `HostError` where its session could not be read; its notice is then still owed.
   */
  async output(taskID: string, wait?: WaitOptions): Promise<TaskReport> {
    const release = this.#outbox.hold(taskID)
    try {
      if (wait) await this.waitForCompletion(taskID, wait)
      const task = this.#store.get(taskID)
      if (!task) throw new ToolError(`There is no task ${taskID}.`)
      if (task.status === 'pending') return { task, transcript: undefined }
      const transcript = await this.#transcript(task)
      if (isEnded(task)) this.#outbox.settle(task)
      return { task, transcript }
    } finally {
      release()
    }
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first.
   * Resolves with `undefined` for an unknown task.
   */
  async cancel(taskID: string): Promise<EndedTask | undefined> {
    const task = this.#store.get(taskID)
    if (!task) return undefined
    if (task.status === 'pending') this.#cancelPending(taskID, 'parent')
    else this.#stops.get(taskID)?.abort()
    return this.waitForCompletion(taskID)
  }

  /** Stops all that a session launched; resolves with what was unfinished until then. */
  async cancelAll(parentID: string): Promise<readonly EndedTask[]> {
    const unfinished = this.list(parentID).filter((task) => !isEnded(task))
    const ended = await Promise.all(unfinished.map((task) => this.cancel(task.id)))
    return ended.flatMap((task) => task ?? [])
  }

  /** To be called with each event of the host. Synchronous, and cheap for an event that concerns no task. */
  handleEvent(event: Event): void {
    switch (event.type) {
      case 'session.status':
      case 'session.error':
        this.#detector.handleEvent(event)
        return
      case 'session.updated':
        this.#gate.handleEvent(event)
        this.#records.handleEvent(event)
        return
      case 'session.deleted': {
        this.#gate.handleEvent(event)
        this.#detector.handleEvent(event)
        const task = this.#store.findBySession(event.properties.info.id)
        if (task?.status === 'pending') this.#cancelPending(task.id, 'user')
        return
      }
      case 'message.updated':
        this.#outbox.handleEvent(event)
        return
      default:
        return
    }
  }

  /**
   * The instance ends: what is unfinished is recorded as interrupted. The host has aborted the sessions already
   * (contract 9.4), so nothing here may take that for the user's wish.
   */
  async dispose(): Promise<void> {
    this.#outbox.dispose()
    this.#disposal.abort()
    for (const { id } of this.#store.all()) {
      this.#end(id, INTERRUPTED)
      this.#scheduler.remove(id)
    }
    this.#detector.dispose()
    await this.#records.flush()
  }

  async #run(taskID: string): Promise<void> {
    const task = this.#store.get(taskID)
    const stop = this.#stops.get(taskID)
    if (!task || isEnded(task) || !stop) return
    if (!this.#store.dispatch(taskID, { type: 'slotTaken', at: this.#clock.now() })) return
    const onPrompted = (): void => {
      this.#store.dispatch(taskID, { type: 'prompted', at: this.#clock.now() })
    }
    this.#end(taskID, await this.#runner.run(task, onPrompted, stop.signal))
  }

  #cancelPending(taskID: string, by: 'parent' | 'user'): void {
    this.#scheduler.remove(taskID)
    this.#end(taskID, { status: 'cancelled', by, text: '', usage: NO_USAGE })
  }

  #end(taskID: string, outcome: Outcome): void {
    this.#store.dispatch(taskID, { type: 'ended', at: this.#clock.now(), outcome })
    this.#stops.delete(taskID)
  }

  async #transcript(task: Task): Promise<Transcript | undefined> {
    try {
      return readTranscript(await this.#opencode.messages(task.sessionID), promptIDOf(task))
    } catch (error) {
      // A deleted session is all that there is to know; anything else can be tried again.
      if (error instanceof HostError && error.reason === 'notFound') return undefined
      throw error
    }
  }
}
