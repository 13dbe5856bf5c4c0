/**
 * The door to background tasks: launches them, looks at them, stops them, and passes the host's events on to the rooms
 * that wait for them. It holds no state of tasks; that is the store's.
 */
import type { Clock } from './clock.ts'
import type { Options } from './config.ts'
import type { Log } from './log.ts'
import { errorText, HostError, type Agent, type Event, type Opencode, type Session } from './opencode.ts'
import { Gate, modelOf } from './parent/gate.ts'
import { Outbox } from './parent/outbox.ts'
import { Detector } from './run/detector.ts'
import type { Runner } from './run/runner.ts'
import { Scheduler } from './run/scheduler.ts'
import { promptIDOf, SessionRunner } from './run/session-runner.ts'
import { readTranscript, type Transcript } from './run/transcript.ts'
import { StatusPoll } from './status.ts'
import { newTaskID } from './task/id.ts'
import { TaskRecords, type Owner } from './task/record.ts'
import { TaskStore } from './task/store.ts'
import { isEnded, NO_USAGE, type EndedTask, type Outcome, type Task } from './task/task.ts'
import { ToolError } from './tool-error.ts'

export interface LaunchRequest {
  readonly parentID: string
  readonly agent: string
  readonly prompt: string
  readonly description: string
}

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

/** What a child may not do: start work of its own, ask the user questions that nobody would see, or use our tools. */
const CHILD_DENIES = ['task', 'question', 'background_*', '*_background']

export class BackgroundManager {
  readonly #opencode: Opencode
  readonly #clock: Clock
  readonly #options: Options
  readonly #store = new TaskStore()
  readonly #records: TaskRecords
  readonly #scheduler: Scheduler
  readonly #detector: Detector
  readonly #runner: Runner
  readonly #gate: Gate
  readonly #outbox: Outbox
  readonly #stops = new Map<string, AbortController>()
  /** Launches whose child is being created, for each parent: they count against its limit already. */
  readonly #launching = new Map<string, number>()
  #agents: Promise<readonly Agent[]> | undefined

  constructor(ports: { opencode: Opencode; clock: Clock; log: Log }, options: Options, owner: Owner) {
    const { opencode, clock, log } = ports
    this.#opencode = opencode
    this.#clock = clock
    this.#options = options
    const store = this.#store
    const statuses = new StatusPoll(ports, options.pollMs)
    this.#scheduler = new Scheduler(options.concurrency)
    this.#detector = new Detector({ opencode, clock, log, statuses })
    this.#runner = new SessionRunner({ opencode, log, detector: this.#detector }, options.startTimeoutMs)
    this.#records = new TaskRecords({ opencode, log, store }, owner)
    this.#gate = new Gate(opencode)
    this.#outbox = new Outbox({ opencode, clock, log, store, statuses, gate: this.#gate }, options.notify)
    store.subscribe((task, event) => log.debug(`${task.id}: ${event.type}, ${task.status}`))
  }

  /**
   * Creates the child session and queues its start; resolves as soon as the record exists, whatever the queue holds.
   * Rejects with a `ToolError` where the request cannot be met; nothing is created then.
   */
  async launch(request: LaunchRequest): Promise<Task> {
    const { parentID, agent, prompt, description } = request
    const launching = this.#launching.get(parentID) ?? 0
    this.#refuseTooMany(parentID, launching)
    this.#launching.set(parentID, launching + 1)
    try {
      const [parent, agents] = await Promise.all([this.#parent(parentID), this.#listAgents()])
      const chosen = refuseUnknown(agent, agents)
      // A child whose agent has no model of its own runs on what its parent runs on just now.
      const model = chosen.model ? undefined : modelOf(parent)
      const task = await this.#records.create(
        {
          id: this.#unusedID(),
          kind: 'agent',
          run: 1,
          parentID,
          agent,
          ...(model && { model }),
          description,
          prompt,
          createdAt: this.#clock.now(),
        },
        CHILD_DENIES.map((permission) => ({ permission, pattern: '*', action: 'deny' })),
      )
      this.#store.add(task)
      this.#stops.set(task.id, new AbortController())
      this.#scheduler.add(task.id, () => this.#run(task.id))
      return this.#store.get(task.id) ?? task
    } catch (error) {
      if (error instanceof HostError)
        throw new ToolError(`The task was not started: ${errorText(error)}. Try again.`)
      throw error
    } finally {
      const left = (this.#launching.get(parentID) ?? 1) - 1
      if (left === 0) this.#launching.delete(parentID)
      else this.#launching.set(parentID, left)
    }
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
    const failure = { reason: 'interrupted' as const, message: 'OpenCode stopped before the task had ended' }
    for (const { id } of this.#store.all()) {
      this.#end(id, { status: 'failed', failure, text: '', usage: NO_USAGE })
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

  #refuseTooMany(parentID: string, launching: number): void {
    const unfinished = this.list(parentID).filter((task) => !isEnded(task))
    const { maxTasksPerSession } = this.#options
    if (unfinished.length + launching < maxTasksPerSession) return
    const ids = unfinished.map((task) => task.id).join(', ')
    throw new ToolError(
      `This session has ${maxTasksPerSession} unfinished tasks, which is its limit: ${ids}. ` +
        'Wait for notices, or stop some with background_cancel.',
    )
  }

  async #parent(parentID: string): Promise<Session> {
    const parent = await this.#gate.session(parentID)
    if (parent.parentID === undefined) return parent
    throw new ToolError(
      'A sub-agent cannot start background tasks. Do this work yourself, or tell your caller.',
    )
  }

  async #listAgents(): Promise<readonly Agent[]> {
    this.#agents ??= this.#opencode.agents()
    try {
      return await this.#agents
    } catch (error) {
      this.#agents = undefined
      throw error
    }
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

  #unusedID(): string {
    const id = newTaskID()
    return this.#store.get(id) ? this.#unusedID() : id
  }
}

function refuseUnknown(name: string, agents: readonly Agent[]): Agent {
  const available = agents.filter((agent) => agent.mode !== 'primary' && !agent.hidden)
  const chosen = available.find((agent) => agent.name === name)
  if (chosen) return chosen
  const names = available.map((agent) => agent.name).join(', ')
  const primary = agents.some((agent) => agent.name === name)
  const what = primary ? `Agent "${name}" cannot be used as a sub-agent.` : `There is no agent "${name}".`
  throw new ToolError(`${what} Available: ${names}.`)
}
