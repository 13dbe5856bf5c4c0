/**
 * One session that launches tasks, and all that is known of it. Each part is a state machine of its own, drawn in its file:
 *
 *   tasks    what it has launched, and what that has used
 *   gate     whether it may be written to: its turn, and what its user does with it
 *   outbox   what it is owed: notices that wait, that are under way, and that a tool call holds back
 *   hold     keeps `opencode run` from ending before its tasks
 *   waits    ends the waits of its tool calls when a person writes
 *
 * This class passes on what one part means for another: a change of a task reaches the outbox, an opened gate has the
 * outbox send, and an interrupt or a notice ends the hold.
 */
import type { StoreEvent } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import { Gate, type GateChange } from './gate.ts'
import { HeadlessHold, type NamedByClient } from './headless-hold.ts'
import type { NotifyOptions } from './mailbox.ts'
import { Outbox, type OutboxPorts } from './outbox.ts'
import { ParentTasks } from './parent-tasks.ts'
import type { TaskStore } from '../task/store.ts'
import { Waits } from './waits.ts'

export interface ParentPorts extends Omit<OutboxPorts, 'gate' | 'tasks' | 'onChange'> {
  readonly store: TaskStore
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Whether a task may never end, as a server does not. */
  readonly isService: (task: Task) => boolean
}

export interface ParentOptions extends NotifyOptions {
  /** How long `opencode run` is held in all for one message of its user, in milliseconds. */
  readonly headlessWaitMs: number
}

export class Parent {
  readonly id: string
  readonly tasks: ParentTasks
  readonly gate: Gate
  readonly outbox: Outbox
  readonly hold: HeadlessHold
  readonly waits = new Waits()
  /** When this process saw the session being created, on the monotonic clock. */
  readonly createdAt: number | undefined
  /** Launches that are being made, with the kind of each: those of agents count against the limit on tasks. */
  readonly launches = new Map<Promise<unknown>, Task['kind']>()
  /** Settles when the tasks that an earlier process left here were looked for; `undefined` where nobody has asked. */
  recovered: Promise<void> | undefined
  readonly #disposal: AbortSignal

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
    this.gate = new Gate(ports.opencode, id, (change) => {
      if (change === 'opened') this.outbox.gateOpened()
      else this.hold.release()
      onGateChange(change)
    })
    const { gate, tasks } = this
    this.outbox = new Outbox({ ...ports, gate, tasks, onChange: () => this.hold.check() }, id, options)
    this.hold = new HeadlessHold({ ...ports, gate, tasks, outbox: this.outbox }, options.headlessWaitMs)
  }

  observeTask(task: Task, event: StoreEvent): void {
    this.tasks.observeTask(task, event)
    // The next instance sends the notices of what ends with this one.
    if (this.#disposal.aborted) return
    this.outbox.observeTask(task, event)
    this.hold.check()
  }

  /** A message comes in that may be a person's. */
  personWrote(message: { readonly id: string; readonly createdAt: number }, client: NamedByClient): void {
    this.gate.personWrote(message)
    this.hold.personWrote(client)
  }

  /** Makes a launch known until it has been made. */
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
