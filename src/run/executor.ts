/**
 * Has the work of tasks done: queues it, starts it when its turn comes, stops it, and reports each end to the store.
 * What has an end is never started or stopped again.
 */
import { formatDuration } from '../format.ts'
import type { Clock } from '../clock.ts'
import type { TaskStore } from '../task/store.ts'
import { isEnded, NO_USAGE, type EndedTask, type Outcome, type Task } from '../task/task.ts'
import { until } from '../task/until.ts'
import type { Runner } from './runner.ts'
import type { Scheduler } from './scheduler.ts'

/** Who wants work to stop: the session that launched it, or a person. */
export type Canceller = 'parent' | 'user'

const INTERRUPTED: Outcome = {
  status: 'failed',
  failure: { reason: 'interrupted', message: 'OpenCode stopped before the task had ended' },
  text: '',
  usage: NO_USAGE,
}

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly scheduler: Scheduler
  readonly runner: Runner
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** Why work is to stop: somebody wants it, or its time is over. The outcome of what was stopped names the first two. */
type StopReason = Canceller | 'timeout'

export class Executor {
  readonly #ports: Ports
  /** What has not ended: how to stop it, and how to forget its time limit. */
  readonly #work = new Map<string, { readonly stop: AbortController; cancelLimit: () => void }>()
  readonly #timeoutMs: number

  /** @param timeoutMs how long a run may take; 0: no limit */
  constructor(ports: Ports, timeoutMs: number) {
    this.#ports = ports
    this.#timeoutMs = timeoutMs
  }

  /** Takes a pending task; one that comes while the instance ends is interrupted at once. */
  enqueue(task: Task): void {
    if (this.#ports.disposal.aborted) {
      this.#end(task.id, INTERRUPTED)
      return
    }
    this.#work.set(task.id, { stop: new AbortController(), cancelLimit: () => {} })
    this.#ports.scheduler.add(task, () => this.#run(task.id))
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first. Resolves
   * with `undefined` for an unknown task.
   */
  async cancel(taskID: string, by: Canceller): Promise<EndedTask | undefined> {
    if (!this.cancelPending(taskID, by)) this.#stop(taskID, by)
    const task = await until(this.#ports, taskID, isEnded)
    return task && isEnded(task) ? task : undefined
  }

  /** Ends a task that has not been started; false where it has been. */
  cancelPending(taskID: string, by: Canceller): boolean {
    if (this.#ports.store.get(taskID)?.status !== 'pending') return false
    this.#ports.scheduler.remove(taskID)
    this.#end(taskID, { status: 'cancelled', by, text: '', usage: NO_USAGE })
    return true
  }

  /** The instance ends: what is unfinished is interrupted. The host has aborted the sessions already (contract 9.4). */
  dispose(): void {
    for (const { id } of this.#ports.store.all()) {
      this.#end(id, INTERRUPTED)
      this.#ports.scheduler.remove(id)
    }
  }

  #stop(taskID: string, reason: StopReason): void {
    this.#work.get(taskID)?.stop.abort(reason)
  }

  async #run(taskID: string): Promise<void> {
    const { clock, runner, store } = this.#ports
    const work = this.#work.get(taskID)
    if (!work || !store.dispatch(taskID, { type: 'slotTaken', at: clock.now() })) return
    const task = store.get(taskID)
    if (!task || isEnded(task)) return
    const onPrompted = (): void => {
      store.dispatch(taskID, { type: 'prompted', at: clock.now() })
    }
    if (this.#timeoutMs > 0)
      work.cancelLimit = clock.after(this.#timeoutMs, () => this.#stop(taskID, 'timeout'))
    const outcome = await runner.run(task, onPrompted, work.stop.signal)
    this.#end(taskID, work.stop.signal.reason === 'timeout' ? this.#timedOut(outcome) : outcome)
  }

  #timedOut(outcome: Outcome): Outcome {
    if (outcome.status !== 'cancelled') return outcome
    const message = `stopped after ${formatDuration(this.#timeoutMs)}, which is its limit (timeoutMs)`
    const { text, usage } = outcome
    return { status: 'failed', failure: { reason: 'timeout', message }, text, usage }
  }

  #end(taskID: string, outcome: Outcome): void {
    this.#ports.store.dispatch(taskID, { type: 'ended', at: this.#ports.clock.now(), outcome })
    this.#work.get(taskID)?.cancelLimit()
    this.#work.delete(taskID)
  }
}
