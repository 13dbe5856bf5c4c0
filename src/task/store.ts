/**
 * The only writer of tasks. Everything else holds ids, asks for the task when it needs it, and changes it by
 * dispatching an event; what follows from a change (step, notice, record, waiters) hangs on `subscribe`.
 */
import { transition, type Task, type TaskEvent } from './task.ts'

/** `added`: a new task, or one from before a restart. */
export type StoreEvent = TaskEvent | { readonly type: 'added' }

export type StoreListener = (task: Task, event: StoreEvent) => void

export class TaskStore {
  readonly #tasks = new Map<string, Task>()
  readonly #bySession = new Map<string, string>()
  readonly #listeners = new Set<StoreListener>()

  add(task: Task): void {
    if (this.#tasks.has(task.id)) throw new Error(`task ${task.id} exists already`)
    this.#bySession.set(task.sessionID, task.id)
    this.#change(task, { type: 'added' })
  }

  /** Applies the event; true where it took effect, false where it lost its race or the task is unknown. */
  dispatch(id: string, event: TaskEvent): boolean {
    const task = this.#tasks.get(id)
    const next = task && transition(task, event)
    if (!next) return false
    this.#change(next, event)
    return true
  }

  /** Forgets a task, whose parent was deleted. */
  remove(id: string): void {
    const task = this.#tasks.get(id)
    if (task) this.#bySession.delete(task.sessionID)
    this.#tasks.delete(id)
  }

  get(id: string): Task | undefined {
    return this.#tasks.get(id)
  }

  /** The task as it is now; the given one where it was removed. Tasks keep their kind. */
  now<Kind extends Task['kind']>(task: Task & { readonly kind: Kind }): Extract<Task, { kind: Kind }> {
    return (this.#tasks.get(task.id) ?? task) as Extract<Task, { kind: Kind }>
  }

  findBySession(sessionID: string): Task | undefined {
    const id = this.#bySession.get(sessionID)
    return id === undefined ? undefined : this.#tasks.get(id)
  }

  all(): IterableIterator<Task> {
    return this.#tasks.values()
  }

  /** Calls the listener after each change, in the order of the subscriptions. Returns how to stop that. */
  subscribe(listener: StoreListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  #change(task: Task, event: StoreEvent): void {
    this.#tasks.set(task.id, task)
    for (const listener of this.#listeners) listener(task, event)
  }
}
