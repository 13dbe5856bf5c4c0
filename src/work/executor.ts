/**
 * Runs the work of tasks: queues it, starts it when a slot is free, stops it, and reports each end to the
 * store. Work that has ended is never started or stopped again.
 */
import { machineOf } from '../task/place.ts'
import type { Clock } from '../clock.ts'
import type { TaskStore } from '../task/store.ts'
import { leftOf } from '../task/time-limit.ts'
import type { Failure, Outcome } from '../task/state.ts'
import { isEnded, isLost, type Task } from '../task/task.ts'
import { waitFor } from '../task/wait-for.ts'
import type { WorkKind } from './kind.ts'
import { failed, interrupted, stopped, timeLimit, type Canceller, type StopCause } from './outcome.ts'

/** The members of a kind that the executor uses. */
export type RunnableKind = Pick<
  WorkKind<Task>,
  'queue' | 'isElsewhere' | 'timeLimitOf' | 'outlivesLimit' | 'run'
>

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly kindOf: (task: Task) => RunnableKind
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

export class Executor {
  readonly #ports: Ports
  /** For each unfinished task: its stop signal, and a callback that cancels the timer of its time limit. */
  readonly #work = new Map<string, { readonly stop: AbortController; cancelLimit: () => void }>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Queues a pending task. After disposal it interrupts the task at once. */
  enqueue(task: Task): void {
    if (this.#ports.disposal.aborted) {
      this.#end(task.id, interrupted(task, task.status !== 'pending'))
      return
    }
    // A deletion of the parent may have cancelled the task meanwhile.
    if (this.#ports.store.get(task.id)?.status !== 'pending') return
    this.#begin(task)
    this.#ports.kindOf(task).queue.add(task, () => this.#start(task.id))
  }

  /** Resumes at once a task that an earlier process started; the task claims the next free slot. */
  resume(task: Task): void {
    // Leaves the task unchanged, because the next instance recovers it.
    if (this.#ports.disposal.aborted) return
    this.#begin(task)
    const work = this.#run(task)
    this.#ports.kindOf(task).queue.add(task, () => work)
  }

  #begin({ id }: Task): void {
    this.#work.set(id, { stop: new AbortController(), cancelLimit: () => {} })
  }

  /** Returns how many tasks start before this one; `undefined` if it does not wait for a slot. */
  placeInQueue(taskID: string): number | undefined {
    const task = this.#ports.store.get(taskID)
    return task && this.#ports.kindOf(task).queue.placeOf(taskID)
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its own end arrived
   * first. Without contact with its machine, resolves with the unfinished task, which stops once that answers. Resolves with
   * `undefined` for an unknown task.
   */
  cancel(taskID: string, by: Canceller): Promise<Task | undefined> {
    this.stop(taskID, { type: 'cancelled', by })
    return waitFor(this.#ports, taskID, (task) => isEnded(task) || isLost(task))
  }

  /** Whether a task is being stopped, so that it accepts no more messages. */
  isStopping(taskID: string): boolean {
    return this.#work.get(taskID)?.stop.signal.aborted === true
  }

  /**
   * Stops a task: a pending one ends at once, the run of any other when it has really stopped. The first cause wins, because an
   * `AbortSignal` that is aborted again retains its reason.
   */
  stop(taskID: string, cause: StopCause): void {
    if (!this.#endPending(taskID, stopped(cause))) this.#work.get(taskID)?.stop.abort(cause)
  }

  /** Fails a pending task; returns false if the task is not pending. */
  failPending(taskID: string, reason: Failure['reason'], message: string): boolean {
    return this.#endPending(taskID, failed(reason, message))
  }

  #endPending(taskID: string, outcome: Outcome): boolean {
    const task = this.#ports.store.get(taskID)
    if (task?.status !== 'pending') return false
    this.#ports.kindOf(task).queue.remove(taskID)
    this.#end(taskID, outcome)
    return true
  }

  /**
   * Interrupts all unfinished tasks but those elsewhere, which a later process resumes. OpenCode has already aborted their
   * sessions (contract 9.4).
   */
  dispose(): void {
    for (const task of this.#ports.store.all()) {
      if (this.#ports.kindOf(task).isElsewhere || goesOn(task)) continue
      this.#end(task.id, interrupted(task, task.status !== 'pending'))
      this.#ports.kindOf(task).queue.remove(task.id)
    }
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
    const kind = this.#ports.kindOf(task)
    const limitMs = kind.timeLimitOf(task)
    if (limitMs > 0) {
      work.cancelLimit = clock.after(leftOf(limitMs, task.startedAt, clock), () => {
        const now = store.get(task.id) ?? task
        if (!kind.outlivesLimit?.(now)) this.stop(task.id, timeLimit(limitMs, task))
      })
    }
    const onStarted = (): void => {
      store.dispatch(task.id, { type: 'prompted', at: clock.now() })
    }
    this.#end(task.id, await kind.run(task, onStarted, work.stop.signal))
  }

  #end(taskID: string, outcome: Outcome): void {
    this.#ports.store.dispatch(taskID, { type: 'ended', at: this.#ports.clock.now(), outcome })
    this.#work.get(taskID)?.cancelLimit()
    this.#work.delete(taskID)
  }
}

/** Whether the work of a task continues when this process ends. */
function goesOn(task: Task): boolean {
  return machineOf(task)?.sessionID !== undefined
}
