/**
 * The only writer of tasks. Everything else holds ids, asks for the task when it needs it, and changes it by
 * dispatching an event; what follows from a change (record, notice, waiters) hangs on `subscribe`.
 */
import { transition, type Task, type TaskEvent } from './task.ts'

export type StoreListener = (task: Task, event: TaskEvent) => void

export class TaskStore {
  readonly #tasks = new Map<string, Task>()
  readonly #bySession = new Map<string, string>()
  readonly #byParent = new Map<string, Set<string>>()
  readonly #listeners = new Set<StoreListener>()

  /** Takes a new task, or one from before a restart. */
  add(task: Task): void {
    if (this.#tasks.has(task.id)) throw new Error(`task ${task.id} exists already`)
    this.#tasks.set(task.id, task)
    this.#bySession.set(task.sessionID, task.id)
    const siblings = this.#byParent.get(task.parentID)
    if (siblings) siblings.add(task.id)
    else this.#byParent.set(task.parentID, new Set([task.id]))
  }

  /** Applies the event; true where it took effect, false where it lost its race or the task is unknown. */
  dispatch(id: string, event: TaskEvent): boolean {
    const task = this.#tasks.get(id)
    const next = task && transition(task, event)
    if (!next) return false
    this.#tasks.set(id, next)
    for (const listener of this.#listeners) listener(next, event)
    return true
  }

  get(id: string): Task | undefined {
    return this.#tasks.get(id)
  }

  findBySession(sessionID: string): Task | undefined {
    const id = this.#bySession.get(sessionID)
    return id === undefined ? undefined : this.#tasks.get(id)
  }

  /** What a session launched, the oldest first. */
  listByParent(parentID: string): Task[] {
    return [...(this.#byParent.get(parentID) ?? [])].flatMap((id) => this.#tasks.get(id) ?? [])
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
}
