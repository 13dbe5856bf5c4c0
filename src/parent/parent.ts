/**
 * One session that launches tasks. Each part is a state machine of its own, drawn in its file:
 *
 *   tasks    the tasks that it launched, and their usage
 *   gate     whether a notice may wake it: its turn, and what its user does with it
 *   outbox   its notices: waiting, in a delivery, or held by a tool call
 *   hold     keeps `opencode run` from exiting before its tasks end
 *
 * This class connects the parts: a change of a task reaches the outbox, an opened gate makes the outbox send,
 * and an interrupt or a notice ends the hold.
 */
import type { StoreEvent, TaskStore } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import { QuietGate, type GateChange } from './quiet-gate.ts'
import { HeadlessHold, type NamedByClient } from './headless-hold.ts'
import type { NotifyOptions } from './notice-batch.ts'
import { Outbox, type OutboxPorts } from './outbox.ts'
import { ParentTasks } from './parent-tasks.ts'

export interface ParentPorts extends Omit<OutboxPorts, 'gate' | 'tasks' | 'caughtUp' | 'onChange'> {
  readonly store: TaskStore
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Whether a task may never end, such as a server. */
  readonly isService: (task: Task) => boolean
  /** Reads the parent if events were missed, or are. Rejects with a `HostError`. */
  readonly catchUp: (parent: Parent) => Promise<void>
}

export interface ParentOptions extends NotifyOptions {
  /** Longest total hold of `opencode run` for one message of its user, in milliseconds. */
  readonly headlessWaitMs: number
}

/**
 * A session that this process saw being created is not checked for this long: no other process can have left
 * tasks in it yet, and the check would delay the first message of each session.
 */
export const NEW_MS = 10_000

export class Parent {
  readonly id: string
  readonly tasks: ParentTasks
  readonly gate: QuietGate
  readonly outbox: Outbox
  readonly hold: HeadlessHold
  /** When this process saw the session being created, on the monotonic clock. */
  readonly createdAt: number | undefined
  /** Launches in progress, with the kind of each: launches of agents count against the limit on tasks. */
  readonly launches = new Map<Promise<unknown>, Task['kind']>()
  /** Settles when a recovery of this session has finished; `undefined` if the next call has to start one. */
  recovered: Promise<void> | undefined
  /** The tasks that a restart has cut off, and that the user's next message continues (option `afterRestart`). */
  cutOff: readonly string[] = []
  /** Settles when the tasks that the last message continues are continued. */
  goingOn: Promise<void> | undefined
  readonly #disposal: AbortSignal
  #nextMessage = new AbortController()

  constructor(
    id: string,
    ports: ParentPorts,
    options: ParentOptions,
    onGateChange: (change: GateChange) => void,
    createdAt?: number,
  ) {
    this.id = id
    this.createdAt = createdAt
    this.#disposal = ports.disposal
    this.tasks = new ParentTasks(ports.store)
    this.gate = new QuietGate(ports.opencode, id, (change) => {
      if (change === 'opened') this.outbox.gateOpened()
      else this.hold.release()
      onGateChange(change)
    })
    const { gate, tasks } = this
    const onChange = (): void => this.hold.check()
    this.outbox = new Outbox(
      { ...ports, gate, tasks, caughtUp: () => ports.catchUp(this), onChange },
      id,
      options,
    )
    this.hold = new HeadlessHold({ ...ports, gate, tasks, outbox: this.outbox }, options.headlessWaitMs)
  }

  observeTask(task: Task, event: StoreEvent): void {
    this.tasks.observeTask(task, event)
    // The next instance sends the notices of tasks that end with this one.
    if (this.#disposal.aborted) return
    this.outbox.observeTask(task, event)
    this.hold.check()
  }

  /**
   * Aborted when a person writes next, so that tool calls stop waiting. OpenCode passes a message to the model only after all
   * tool calls of the current step have returned, and a tool call may wait for ten minutes.
   */
  get nextMessage(): AbortSignal {
    return this.#nextMessage.signal
  }

  /** Ends the waits of tool calls, because a person writes. */
  endWaits(): void {
    this.#nextMessage.abort()
    this.#nextMessage = new AbortController()
  }

  /** Observes an incoming message that may be a person's. */
  personWrote(message: { readonly id: string; readonly createdAt: number }, client: NamedByClient): void {
    this.gate.personWrote(message)
    this.hold.personWrote(client)
  }

  /** Observes a stored part of a person's message that no hook has reported. */
  personStored(messageID: string): void {
    const message = this.gate.stored(messageID)
    if (!message || !this.gate.personStored(message)) return
    this.endWaits()
    this.outbox.personWrote()
  }

  /** Registers a launch until it has finished. */
  async launch<Result>(kind: Task['kind'], launch: Promise<Result>): Promise<Result> {
    this.launches.set(launch, kind)
    try {
      return await launch
    } finally {
      this.launches.delete(launch)
    }
  }

  dispose(): void {
    this.outbox.dispose()
    this.hold.release()
  }
}
