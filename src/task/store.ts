/**
 * The only writer of tasks. Other components hold ids, read the task when they need it, and change it by
 * dispatching an event. Timeline, outbox, records and waiters subscribe to changes.
 */
import type { Task } from './task.ts'
import { transition } from './transition.ts'
import type { TaskEvent } from './task-event.ts'

/** `added`: a new task, or a recovered one. */
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

  /** Applies the event. Returns false where it lost its race or the task is unknown. */
  dispatch(id: string, event: TaskEvent): boolean {
    const task = this.#tasks.get(id)
    const next = task && transition(task, event)
    if (!next) return false
    this.#change(next, event)
    return true
  }

  /** Removes a task whose parent was deleted. */
  remove(id: string): void {
    const task = this.#tasks.get(id)
    if (task) this.#bySession.delete(task.sessionID)
    this.#tasks.delete(id)
  }

  get(id: string): Task | undefined {
    return this.#tasks.get(id)
  }

  /** Returns the current task, or the given one where it was removed. A task's kind never changes. */
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

  /** Calls the listener after each change, in the order of subscription. Returns how to unsubscribe. */
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
