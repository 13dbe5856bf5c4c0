/** Maps each session that launches tasks to its `Parent`. No other class adds or removes parents. */
import type { StoreEvent } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import type { GateChange } from './quiet-gate.ts'
import { NEW_MS, Parent, type ParentOptions, type ParentPorts } from './parent.ts'

interface Ports extends Omit<ParentPorts, 'catchUp'> {
  /** Cancels a task; resolves when it has really stopped. */
  readonly cancel: (taskID: string) => Promise<unknown>
  /** Called when the user has interrupted a parent, unless `instanceEnd` is aborted soon. */
  readonly onInterrupt: (parent: Parent, instanceEnd: AbortSignal) => void
}

export class Parents {
  /** Reads a parent if events were missed, or are. Replaced by what follows OpenCode's event stream in another process. */
  catchUp: ParentPorts['catchUp'] = () => Promise.resolve()
  readonly #ports: Ports
  readonly #options: ParentOptions
  readonly #parents = new Map<string, Parent>()
  /** Sessions that are no parents yet, and when they were created, for `NEW_MS`: most never launch a task. */
  readonly #created = new Map<string, number>()
  /** Aborted when OpenCode ends the instance of the parents, while this process lives on. */
  #instanceEnd = new AbortController()

  constructor(ports: Ports, options: ParentOptions) {
    this.#ports = ports
    this.#options = options
  }

  /** Returns the parent of this id, and creates it if it is unknown. */
  of(id: string): Parent {
    return this.#parents.get(id) ?? this.#add(id)
  }

  find(id: string): Parent | undefined {
    return this.#parents.get(id)
  }

  /** Observes a session that this process has created: no other process has left tasks there yet. */
  observeCreated(id: string): void {
    const now = this.#ports.clock.monotonic()
    for (const [other, at] of this.#created) {
      if (now - at < NEW_MS) break
      this.#created.delete(other)
    }
    this.#created.set(id, now)
  }

  observeTask(task: Task, event: StoreEvent): void {
    const parent = event.type === 'added' ? this.of(task.parentID) : this.find(task.parentID)
    parent?.observeTask(task, event)
  }

  /** Observes that OpenCode ends its instance: the end caused the apparent interrupt (contract 9.4). */
  observeInstanceEnd(): void {
    this.#instanceEnd.abort()
    this.#instanceEnd = new AbortController()
  }

  /** Returns all parents. */
  all(): Iterable<Parent> {
    return this.#parents.values()
  }

  dispose(): void {
    for (const parent of this.#parents.values()) parent.dispose()
  }

  #add(id: string): Parent {
    const onGateChange = (change: GateChange): void => {
      if (change === 'interrupted') this.#ports.onInterrupt(parent, this.#instanceEnd.signal)
      else if (change === 'deleted') void this.#delete(parent)
      else if (change === 'unknown' && parent.tasks.ids.size === 0) this.#forget(parent)
    }
    const ports: ParentPorts = { ...this.#ports, catchUp: (behind) => this.catchUp(behind) }
    const parent = new Parent(id, ports, this.#options, onGateChange, this.#created.get(id))
    this.#created.delete(id)
    this.#parents.set(id, parent)
    return parent
  }

  /** Cancels the tasks of a deleted parent, and removes them with it. */
  async #delete(parent: Parent): Promise<void> {
    const { launches, outbox, tasks } = parent
    do {
      const cancels = tasks.cancelOrder.map((taskID) => this.#ports.cancel(taskID))
      await Promise.allSettled([parent.recovered, ...launches.keys(), ...cancels])
    } while (launches.size > 0 || tasks.unfinishedIDs.size > 0)
    outbox.settleAll()
    for (const taskID of tasks.ids) this.#ports.store.remove(taskID)
    this.#forget(parent)
  }

  #forget(parent: Parent): void {
    if (this.#parents.get(parent.id) === parent) this.#parents.delete(parent.id)
  }
}
