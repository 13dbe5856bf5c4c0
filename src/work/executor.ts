/**
 * Has the work of tasks done: queues it, starts it when its turn comes, stops it, and reports each end to the store.
 * What has an end is never started or stopped again.
 */
import { formatLimit } from '../text/format.ts'
import type { Clock } from '../clock.ts'
import type { TaskStore } from '../task/store.ts'
import {
  isEnded,
  NO_USAGE,
  type AgentTask,
  type CommandTask,
  type EndedTask,
  type Outcome,
  type Task,
} from '../task/task.ts'
import { waitFor } from '../task/wait-for.ts'
import type { Runner } from './runner.ts'
import type { Queue } from './queue.ts'
import { leftOf } from '../task/time-limit.ts'

/** Who wants work to stop: the session that launched it, or a person. */
export type Canceller = 'parent' | 'user'

/** A kind of work: what queues it, and what does it. */
interface Lane<Kind extends Task> {
  readonly queue: Queue
  readonly runner: Runner<Kind>
}

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly agents: Lane<AgentTask>
  readonly commands: Lane<CommandTask> & {
    /** Whether a command whose default limit is over goes on as a server. */
    readonly outlivesLimit: (task: CommandTask) => boolean
  }
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

  /** @param timeoutMs how long a run of an agent may take; 0: no limit */
  constructor(ports: Ports, timeoutMs: number) {
    this.#ports = ports
    this.#timeoutMs = timeoutMs
  }

  /** Takes a pending task; one that comes while the instance ends is interrupted at once. */
  enqueue(task: Task): void {
    if (this.#ports.disposal.aborted) {
      this.#end(task.id, interrupted(task))
      return
    }
    this.#begin(task)
    this.#queue(task).add(task, () => this.#start(task.id))
  }

  /** Takes a task that is at work already, begun by a process before this one: it has a slot, or the next that is free. */
  resume(task: Task): void {
    // It stays as it is, for the next instance to find.
    if (this.#ports.disposal.aborted) return
    this.#begin(task)
    const work = this.#run(task)
    this.#queue(task).add(task, () => work)
  }

  #begin({ id }: Task): void {
    this.#work.set(id, { stop: new AbortController(), cancelLimit: () => {} })
  }

  /** How many wait for a slot before this task; `undefined` where it does not wait. */
  placeInQueue(taskID: string): number | undefined {
    const task = this.#ports.store.get(taskID)
    return task && this.#queue(task).placeOf(taskID)
  }

  /**
   * Stops a task, and resolves with it when it has really stopped: `cancelled`, unless its end came first. Resolves
   * with `undefined` for an unknown task.
   */
  async cancel(taskID: string, by: Canceller): Promise<EndedTask | undefined> {
    if (!this.cancelPending(taskID, by)) this.#stop(taskID, by)
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
    this.#queue(task).remove(taskID)
    this.#end(taskID, { status: 'cancelled', by, text: '', usage: NO_USAGE })
    return true
  }

  /** The instance ends: what is unfinished is interrupted. The host has aborted the sessions already (contract 9.4). */
  dispose(): void {
    for (const task of this.#ports.store.all()) {
      this.#end(task.id, interrupted(task))
      this.#queue(task).remove(task.id)
    }
  }

  #stop(taskID: string, reason: StopReason): void {
    this.#work.get(taskID)?.stop.abort(reason)
  }

  #timeIsOver(taskID: string): void {
    const { store, commands } = this.#ports
    const task = store.get(taskID)
    if (task?.kind === 'command' && commands.outlivesLimit(task)) return
    this.#stop(taskID, 'timeout')
  }

  async #start(taskID: string): Promise<void> {
    const { clock, store } = this.#ports
    if (!store.dispatch(taskID, { type: 'slotTaken', at: clock.now() })) return
    const task = store.get(taskID)
    if (task) await this.#run(task)
  }

  async #run(task: Task): Promise<void> {
    const { clock, store, agents, commands } = this.#ports
    const work = this.#work.get(task.id)
    if (!work || isEnded(task) || task.status === 'pending') return
    const onPrompted = (): void => {
      store.dispatch(task.id, { type: 'prompted', at: clock.now() })
    }
    const limitMs = task.kind === 'agent' ? this.#timeoutMs : task.timeoutMs
    if (limitMs > 0) {
      const leftMs = leftOf(limitMs, task.startedAt, clock)
      work.cancelLimit = clock.after(leftMs, () => this.#timeIsOver(task.id))
    }
    const { signal } = work.stop
    const outcome =
      task.kind === 'agent'
        ? await agents.runner.run(task, onPrompted, signal)
        : await commands.runner.run(task, onPrompted, signal)
    this.#end(task.id, signal.reason === 'timeout' ? timedOut(outcome, task, limitMs) : outcome)
  }

  #queue({ kind }: Task): Queue {
    return kind === 'agent' ? this.#ports.agents.queue : this.#ports.commands.queue
  }

  #end(taskID: string, outcome: Outcome): void {
    this.#ports.store.dispatch(taskID, { type: 'ended', at: this.#ports.clock.now(), outcome })
    this.#work.get(taskID)?.cancelLimit()
    this.#work.delete(taskID)
  }
}

function timedOut(outcome: Outcome, task: Task, limitMs: number): Outcome {
  if (outcome.status !== 'cancelled') return outcome
  const { by: _, ...rest } = outcome
  const message = formatLimit(limitMs, task)
  return { ...rest, status: 'failed', failure: { reason: 'timeout', message } }
}

function interrupted({ status }: Task): Outcome {
  const message = `OpenCode stopped before the task had ${status === 'pending' ? 'started' : 'ended'}`
  return { status: 'failed', failure: { reason: 'interrupted', message }, text: '', usage: NO_USAGE }
}
