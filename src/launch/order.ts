/** Queues pending tasks: at once, or once the tasks have completed for which they wait (`followers.ts`). */
import type { Clock } from '../clock.ts'
import { errorText } from '../host/opencode.ts'
import { dependenciesOf } from '../task/dependency.ts'
import type { StoreEvent, TaskStore } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import { ToolError } from '../tool-error.ts'
import type { LaunchRequest } from '../work/agent/agent-launch.ts'
import type { Executor } from '../work/executor.ts'
import type { KindOf } from '../work/kind.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { Followers } from './followers.ts'

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly timeline: TimelineWriter
  readonly executor: Executor
  readonly kindOf: KindOf
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

export class Order {
  readonly #ports: Ports
  /** Continuations in progress, by the id of the task. */
  readonly #continuing = new Map<string, Promise<unknown>>()
  #followers: Followers | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Rejects with a `ToolError` if the session does not know a task of `after`, or one has failed. */
  async check({ after = [], parentID }: LaunchRequest): Promise<void> {
    if (after.length === 0) return
    const followers = await this.#load()
    await this.continued(after)
    const refusal = followers.refusalOf(after, parentID)
    if (refusal) throw new ToolError(...refusal)
  }

  /** Registers the continuation of a task until it has finished. */
  async continue<Result>(taskID: string, continuation: Promise<Result>): Promise<Result> {
    this.#continuing.set(taskID, continuation)
    try {
      return await continuation
    } finally {
      if (this.#continuing.get(taskID) === continuation) this.#continuing.delete(taskID)
    }
  }

  /**
   * Resolves once none of these tasks is being continued. A model continues a task and its follower in one step, and OpenCode
   * executes the calls at the same time: the follower would start without the result.
   */
  async continued(taskIDs: readonly string[]): Promise<void> {
    await Promise.allSettled(taskIDs.flatMap((id) => this.#continuing.get(id) ?? []))
  }

  /** Queues a pending task, or has it wait for the tasks of its `after`. Never rejects. */
  async enqueue(task: Task): Promise<void> {
    const { disposal, executor, store } = this.#ports
    if (dependenciesOf(task).length === 0 || disposal.aborted) return executor.enqueue(task)
    try {
      ;(await this.#load()).hold(store.now(task))
    } catch (error) {
      executor.failPending(task.id, 'error', errorText(error))
    }
  }

  /** Returns the ids of the unfinished tasks for which a pending task waits. */
  awaited(taskID: string): readonly string[] {
    return this.#followers?.awaited(taskID) ?? []
  }

  /** Observes each change of a task before its parent does, so that one notice reports an end and those of the followers. */
  observeTask(task: Task, event: StoreEvent): void {
    if (!this.#ports.disposal.aborted) this.#followers?.observeTask(task, event)
  }

  /** Observes that the session of a task was deleted: nobody can answer its question any more. */
  observeDeleted(task: Task): void {
    this.#followers?.observeDeleted(task)
  }

  /** Loads the bundle for the first follower, because each server would read the code at its start. */
  async #load(): Promise<Followers> {
    const loaded = await import('./followers.ts')
    return (this.#followers ??= new loaded.Followers(this.#ports))
  }
}
