/**
 * The only writer of tasks. Everything else holds ids, asks for the task when it needs it, and changes it by
 * dispatching an event; what follows from a change (record, notice, waiters) hangs on `subscribe`.
 */
import {
  isActive,
  isEnded,
  NO_USAGE,
  transition,
  usagesOf,
  usedTogether,
  type Task,
  type TaskEvent,
  type Usage,
} from './task.ts'

export type StoreListener = (task: Task, event: TaskEvent) => void

export class TaskStore {
  readonly #tasks = new Map<string, Task>()
  readonly #bySession = new Map<string, string>()
  readonly #byParent = new Map<string, Set<string>>()
  /** What is asked at each launch and each end must cost the same however many others there are. */
  readonly #unfinishedByParent = new Map<string, Set<string>>()
  readonly #activeByParent = new Map<string, Set<string>>()
  readonly #usedByParent = new Map<string, Usage>()
  readonly #listeners = new Set<StoreListener>()

  /** Takes a new task, or one from before a restart. */
  add(task: Task): void {
    if (this.#tasks.has(task.id)) throw new Error(`task ${task.id} exists already`)
    this.#tasks.set(task.id, task)
    this.#bySession.set(task.sessionID, task.id)
    keepIn(this.#byParent, task, true)
    this.#index(task)
    this.#use(task.parentID, usagesOf(task))
  }

  /** Applies the event; true where it took effect, false where it lost its race or the task is unknown. */
  dispatch(id: string, event: TaskEvent): boolean {
    const task = this.#tasks.get(id)
    const next = task && transition(task, event)
    if (!next) return false
    this.#tasks.set(id, next)
    this.#index(next)
    if (event.type === 'ended') this.#use(next.parentID, [event.outcome.usage])
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

  /** The ids of what a session launched and has not ended. */
  unfinished(parentID: string): ReadonlySet<string> {
    return this.#unfinishedByParent.get(parentID) ?? NONE
  }

  /** Whether something that a session launched is at work. */
  isAtWork(parentID: string): boolean {
    return this.#activeByParent.has(parentID)
  }

  /** What the runs of agents that a session launched have used together, of those that have ended. */
  used(parentID: string): Usage {
    return this.#usedByParent.get(parentID) ?? NO_USAGE
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

  #use(parentID: string, usages: readonly Usage[]): void {
    this.#usedByParent.set(parentID, usedTogether([this.used(parentID), ...usages]))
  }

  #index(task: Task): void {
    keepIn(this.#unfinishedByParent, task, !isEnded(task))
    keepIn(this.#activeByParent, task, isActive(task))
  }
}

const NONE: ReadonlySet<string> = new Set()

function keepIn(index: Map<string, Set<string>>, { id, parentID }: Task, belongs: boolean): void {
  const siblings = index.get(parentID)
  if (belongs && siblings) siblings.add(id)
  else if (belongs) index.set(parentID, new Set([id]))
  else if (siblings?.delete(id) && siblings.size === 0) index.delete(parentID)
}
