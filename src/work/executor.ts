/**
 * Has the work of tasks done: queues it, starts it when its turn comes, stops it, and reports each end to the store.
 * Work that has ended is never started or stopped again.
 */
import type { Clock } from '../clock.ts'
import type { TaskStore } from '../task/store.ts'
import { leftOf } from '../task/time-limit.ts'
import { isEnded, type EndedTask, type Outcome, type Task } from '../task/task.ts'
import { waitFor } from '../task/wait-for.ts'
import type { WorkKind } from './kind.ts'
import { cancelled, interrupted, timeLimit, type Canceller, type StopCause } from './outcome.ts'

/** The part of a kind that running needs. */
export type RunnableKind = Pick<WorkKind<Task>, 'queue' | 'timeLimitOf' | 'outlivesLimit' | 'run'>

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly kinds: Readonly<Record<Task['kind'], RunnableKind>>
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

export class Executor {
  readonly #ports: Ports
  /** How to stop each task that has not ended, and how to cancel the timer of its time limit. */
  readonly #work = new Map<string, { readonly stop: AbortController; cancelLimit: () => void }>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Takes a pending task; one that comes while the instance ends is interrupted at once. */
  enqueue(task: Task): void {
    if (this.#ports.disposal.aborted) {
      this.#end(task.id, interrupted(task, task.status !== 'pending'))
      return
    }
    // Its parent may have been deleted meanwhile, which cancels it.
    if (this.#ports.store.get(task.id)?.status !== 'pending') return
    this.#begin(task)
    this.#kindOf(task).queue.add(task, () => this.#start(task.id))
  }

  /** Takes a task that is at work already, begun by a process before this one: it has a slot, or the next that is free. */
  resume(task: Task): void {
    // It stays as it is, for the next instance to find.
    if (this.#ports.disposal.aborted) return
    this.#begin(task)
    const work = this.#run(task)
    this.#kindOf(task).queue.add(task, () => work)
  }

  #begin({ id }: Task): void {
    this.#work.set(id, { stop: new AbortController(), cancelLimit: () => {} })
  }

  /** How many wait for a slot before this task; `undefined` where it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    const task = this.#ports.store.get(taskID)
    return task && this.#kindOf(task).queue.placeOf(taskID)
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first. Resolves
   * with `undefined` for an unknown task.
   */
  async cancel(taskID: string, by: Canceller): Promise<EndedTask | undefined> {
    if (!this.cancelPending(taskID, by)) this.#stop(taskID, { type: 'cancelled', by })
    const task = await waitFor(this.#ports, taskID, isEnded)
    return task && isEnded(task) ? task : undefined
  }

  /** Whether a task at work is being stopped, and hears nothing any more. */
  isStopping(taskID: string): boolean {
    return this.#work.get(taskID)?.stop.signal.aborted === true
  }

  /** Ends a task that has not been started; false where it has been. */
  cancelPending(taskID: string, by: Canceller): boolean {
    const task = this.#ports.store.get(taskID)
    if (task?.status !== 'pending') return false
    this.#kindOf(task).queue.remove(taskID)
    this.#end(taskID, cancelled(by))
    return true
  }

  /** Interrupts all unfinished tasks, because the instance ends. OpenCode has aborted their sessions already (contract 9.4). */
  dispose(): void {
    for (const task of this.#ports.store.all()) {
      this.#end(task.id, interrupted(task, task.status !== 'pending'))
      this.#kindOf(task).queue.remove(task.id)
    }
  }

  /** The first cause stands: a signal that is aborted again keeps its reason. */
  #stop(taskID: string, cause: StopCause): void {
    this.#work.get(taskID)?.stop.abort(cause)
  }

  async #start(taskID: string): Promise<void> {
    const { clock, store } = this.#ports
    if (!store.dispatch(taskID, { type: 'slotTaken', at: clock.now() })) return
    const task = store.get(taskID)
    if (task) await this.#run(task)
  }

  async #run(task: Task): Promise<void> {
    const { clock, store } = this.#ports
    const work = this.#work.get(task.id)
    if (!work || isEnded(task) || task.status === 'pending') return
    const kind = this.#kindOf(task)
    const limitMs = kind.timeLimitOf(task)
    if (limitMs > 0) {
      work.cancelLimit = clock.after(leftOf(limitMs, task.startedAt, clock), () => {
        const now = store.get(task.id) ?? task
        if (!kind.outlivesLimit(now)) this.#stop(task.id, timeLimit(limitMs, task))
      })
    }
    const onStarted = (): void => {
      store.dispatch(task.id, { type: 'prompted', at: clock.now() })
    }
    this.#end(task.id, await kind.run(task, onStarted, work.stop.signal))
  }

  #kindOf({ kind }: Task): RunnableKind {
    return this.#ports.kinds[kind]
  }

  #end(taskID: string, outcome: Outcome): void {
    this.#ports.store.dispatch(taskID, { type: 'ended', at: this.#ports.clock.now(), outcome })
    this.#work.get(taskID)?.cancelLimit()
    this.#work.delete(taskID)
  }
}
