/** Waits for the ends of tasks, and reads tasks: an end that a tool call of the parent has returned needs no notice. */
import type { Clock } from './clock.ts'
import type { Reader } from './host/reader.ts'
import type { Hold } from './parent/held-ends.ts'
import { receiptOf, type Receipt } from './parent/history.ts'
import type { Parents } from './parent/parents.ts'
import type { TaskStore } from './task/store.ts'
import { isEnded, type EndedTask, type Task, type UnfinishedTask } from './task/task.ts'
import { waitFor } from './task/wait-for.ts'
import { unknownTask } from './tool-error.ts'
import type { KindOf, ReportOptions, WorkReport } from './work/kind.ts'

export interface WaitOptions {
  /** The longest wait in milliseconds; 0: no limit. */
  readonly timeoutMs?: number | undefined
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined
  /**
   * The tool call that returns the end to the parent's model; `readerOf` creates one. The notice of the end
   * is held until OpenCode has stored this call. A completed call settles it; if the call failed, was aborted
   * or never stored, the notice is sent. Without a reader, or with one in another session, a notice follows.
   */
  readonly reader?: Reader | undefined
}

/** Waits for the end first if `timeoutMs` is given. */
export interface OutputOptions extends WaitOptions, ReportOptions {}

/** Why a wait ended: the task has ended, the time limit has passed, or the signal was aborted. */
export type WaitResult =
  | { readonly type: 'ended'; readonly task: EndedTask }
  | { readonly type: 'timedOut' | 'aborted'; readonly task: UnfinishedTask }

export interface TaskReport extends WorkReport {
  readonly task: Task
  /**
   * Belongs in the metadata that the tool returns. After a restart it proves that the end was read; otherwise
   * the end is reported again. Empty if the task has not ended.
   */
  readonly receipt: Receipt
}

interface Ports {
  readonly clock: Clock
  readonly kindOf: KindOf
  readonly parents: Parents
  readonly store: TaskStore
}

export class TaskReader {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Waits for the end of a task. Rejects with a `ToolError` for an unknown task. */
  async waitForCompletion(taskID: string, options: WaitOptions = {}): Promise<WaitResult> {
    const hold = this.#hold(taskID, options.reader)
    try {
      const result = await this.#wait(taskID, options)
      if (result.type === 'ended') hold?.read(result.task)
      return result
    } finally {
      hold?.release()
    }
  }

  /**
   * Reads a task, after waiting for its end if `timeoutMs` is given. Rejects with a `ToolError` for an
   * unknown task, and with a `HostError` if its session cannot be read; its notice is then still owed.
   */
  async output(taskID: string, options: OutputOptions = {}): Promise<TaskReport> {
    const { timeoutMs, reader } = options
    const hold = this.#hold(taskID, reader)
    try {
      if (timeoutMs !== undefined) await this.#waitToRead(taskID, options)
      const task = this.task(taskID)
      const report = await this.#ports.kindOf(task).report(task, options)
      if (isEnded(task)) hold?.read(task)
      return { task, ...report, receipt: receiptOf(task) }
    } finally {
      hold?.release()
    }
  }

  /** Throws a `ToolError` if there is no such task. */
  task(taskID: string): Task {
    const task = this.#ports.store.get(taskID)
    if (!task) throw unknownTask(taskID)
    return task
  }

  /** Holds the notice of a task's end; `undefined` if the reader is not in the parent session. */
  #hold(taskID: string, reader: Reader | undefined): Hold | undefined {
    const task = this.task(taskID)
    if (reader?.sessionID !== task.parentID) return undefined
    return this.#ports.parents.of(task.parentID).outbox.hold(task, reader)
  }

  async #wait(taskID: string, { timeoutMs = 0, signal }: WaitOptions): Promise<WaitResult> {
    const { clock, store } = this.#ports
    const task =
      (await waitFor({ store, clock }, taskID, isEnded, { timeoutMs, signal })) ?? this.task(taskID)
    if (isEnded(task)) return { type: 'ended', task }
    return { type: signal?.aborted ? 'aborted' : 'timedOut', task }
  }

  /** Waits for the end of a task, or until a person writes in the session whose tool call waits. */
  async #waitToRead(taskID: string, options: OutputOptions): Promise<void> {
    const { reader, signal } = options
    const nextMessage = reader && this.#ports.parents.of(reader.sessionID).nextMessage
    const signals = [nextMessage, signal].flatMap((each) => each ?? [])
    await this.#wait(taskID, { ...options, signal: AbortSignal.any(signals) })
  }
}
