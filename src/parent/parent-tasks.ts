/**
 * Indexes the tasks of one session by state, because each launch and each end reads them, and must cost the
 * same however many tasks exist. The store holds the tasks themselves.
 */
import { dependenciesOf } from '../task/dependency.ts'
import type { StoreEvent, TaskStore } from '../task/store.ts'
import { NO_USAGE, usedTogether, type Usage } from '../task/state.ts'
import {
  isActive,
  isEnded,
  usagesOf,
  workedMsBefore,
  workedMsOf,
  type EndedTask,
  type Task,
} from '../task/task.ts'

/** A task that another living process of OpenCode runs. */
export interface OthersTask {
  readonly task: Task
  /** The process, and the machine's host name. */
  readonly owner: { readonly pid: number; readonly host: string }
}

export class ParentTasks {
  /** Tasks that another process runs, as of the last read of their records. */
  others: readonly OthersTask[] = []
  readonly #store: TaskStore
  readonly #ids = new Set<string>()
  readonly #unfinished = new Set<string>()
  readonly #active = new Set<string>()
  #used = NO_USAGE
  #workedMs = 0

  constructor(store: TaskStore) {
    this.#store = store
  }

  observeTask(task: Task, event: StoreEvent): void {
    if (event.type === 'added') this.#addUsage(usagesOf(task), workedMsBefore(task))
    else if (event.type === 'ended')
      this.#addUsage([event.outcome.usage], 'promptIDs' in task ? workedMsOf(task, event.at) : 0)
    this.#ids.add(task.id)
    keep(this.#unfinished, task.id, !isEnded(task))
    keep(this.#active, task.id, isActive(task))
  }

  /** Forgets an ended task that another process has continued, with what it has used: it is found again as the other's. */
  giveUp(task: EndedTask): void {
    this.#store.remove(task.id)
    this.#ids.delete(task.id)
    this.#addUsage(usagesOf(task).map(negative), -workedMsBefore(task))
  }

  /** Returns the current state of a task. */
  now(task: Task): Task {
    return this.#store.now(task)
  }

  get ids(): ReadonlySet<string> {
    return this.#ids
  }

  get unfinishedIDs(): ReadonlySet<string> {
    return this.#unfinished
  }

  /**
   * Returns the ids of the unfinished tasks in the order of a cancel: followers come before the tasks for which they wait, whose
   * ends would end them as failed.
   */
  get cancelOrder(): readonly string[] {
    const isFollower = (task: Task): boolean => dependenciesOf(task).length > 0
    const newestFirst = [...this.unfinished()].toReversed()
    return newestFirst.toSorted((a, b) => Number(isFollower(b)) - Number(isFollower(a))).map(({ id }) => id)
  }

  /** The tasks that have not ended. */
  unfinished(): Generator<Task> {
    return this.#tasks(this.#unfinished)
  }

  /** The tasks that hold a slot; never more than the limit on all. */
  active(): Generator<Task> {
    return this.#tasks(this.#active)
  }

  /** The number of tasks that hold a slot. */
  get activeCount(): number {
    return this.#active.size
  }

  /** The usage of all agents' runs that have ended. */
  get used(): Usage {
    return this.#used
  }

  /** How long all agents' runs that have ended were at work, in milliseconds. */
  get workedMs(): number {
    return this.#workedMs
  }

  /** Returns all tasks, oldest launch first. */
  list(): Task[] {
    return [...this.#ids]
      .flatMap((id) => this.#store.get(id) ?? [])
      .toSorted((a, b) => launchedAt(a) - launchedAt(b))
  }

  #addUsage(usages: readonly Usage[], workedMs: number): void {
    this.#used = usedTogether([this.#used, ...usages])
    this.#workedMs += workedMs
  }

  *#tasks(ids: ReadonlySet<string>): Generator<Task> {
    for (const id of ids) {
      const task = this.#store.get(id)
      if (task) yield task
    }
  }
}

function negative({ toolCalls, tokens, cost }: Usage): Usage {
  return { toolCalls: -toolCalls, tokens: -tokens, cost: -cost }
}

function keep(ids: Set<string>, id: string, belongs: boolean): void {
  if (belongs) ids.add(id)
  else ids.delete(id)
}

/** Returns when the oldest known run of a task was requested. */
function launchedAt(task: Task): number {
  const { earlier = [] } = { earlier: undefined, ...task }
  return earlier[0]?.createdAt ?? task.createdAt
}
