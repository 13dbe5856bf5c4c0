/**
 * Executes requests of the terminal UI that only the server plugin can: cancel a pending task, kill a
 * command, continue an ended task, or find tasks that a process has left behind. A request arrives in the
 * metadata of the task's session (`task/request.ts`), and the answer is written there. A request is the
 * user's act, so that the parent is notified of a task that it cancels.
 */
import { cutMiddle } from './text/format.ts'
import type { Log } from './host/log.ts'
import type { Continuer } from './launch/continuer.ts'
import { errorText, type Session } from './host/opencode.ts'
import type { Recovery } from './restart/recovery.ts'
import type { Executor } from './work/executor.ts'
import type { KindOf } from './work/kind.ts'
import type { TimelineWriter } from './timeline.ts'
import { readRequest, REQUEST_KEY, type RequestReply, type TaskRequest } from './task/request.ts'
import type { TaskRecords } from './task/records.ts'
import type { TaskStore } from './task/store.ts'
import type { Task } from './task/task.ts'

interface Ports {
  readonly continuer: Continuer
  readonly executor: Executor
  readonly kindOf: KindOf
  readonly log: Log
  readonly records: TaskRecords
  readonly recovery: Recovery
  readonly store: TaskStore
  readonly timeline: TimelineWriter
}

/** Limit of an answer, which stays in the session's metadata and is read by every client with the session. */
const OUTPUT_BYTES = 4000

/** How many handled requests are remembered; a person sends them seconds apart. */
const KEPT_REQUESTS = 100

export class Requests {
  readonly #ports: Ports
  /** The newest handled requests: events repeat each until its answer is written, and two may alternate. */
  readonly #taken = new Set<string>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  observeSession({ id: sessionID, parentID, metadata }: Session): void {
    if (parentID === undefined || metadata?.[REQUEST_KEY] === undefined) return
    const request = readRequest(metadata)
    if (!request || request.answer) return
    const key = `${sessionID} ${request.id}`
    if (this.#taken.has(key)) return
    this.#taken.add(key)
    const [oldest = ''] = this.#taken
    if (this.#taken.size > KEPT_REQUESTS) this.#taken.delete(oldest)
    void this.#take(sessionID, parentID, request)
  }

  async #take(sessionID: string, parentID: string, request: TaskRequest): Promise<void> {
    const { log, records, store } = this.#ports
    try {
      const answer = await this.#do(sessionID, parentID, request)
      if (answer) await records.mark(sessionID, { [REQUEST_KEY]: { ...request, answer } })
    } catch (error) {
      const taskID = store.findBySession(sessionID)?.id ?? sessionID
      log.warn(`${taskID}: ${request.kind} could not be answered: ${errorText(error)}`)
    }
  }

  async #do(sessionID: string, parentID: string, request: TaskRequest): Promise<RequestReply | undefined> {
    const { recovery, store, timeline } = this.#ports
    const { kind } = request
    if (kind === 'look') {
      await recovery.refreshRecords(parentID)
      return { ok: true, text: 'The records are up to date.' }
    }
    if (!store.findBySession(sessionID)) await recovery.recover(parentID)
    const task = store.findBySession(sessionID)
    // Another process owns the task and does not observe this request: the UI reports no answer.
    if (!task) return undefined
    const answer = await this.#answer(task, { ...request, kind })
    timeline.add(task.id, { type: 'request', request: kind })
    return answer
  }

  async #answer(
    task: Task,
    { run, kind, prompt = '' }: TaskRequest & { readonly kind: Exclude<TaskRequest['kind'], 'look'> },
  ): Promise<RequestReply> {
    const { continuer, executor, kindOf } = this.#ports
    if (run !== task.run) return { ok: false, text: `${task.id} has started another run since.` }
    try {
      switch (kind) {
        case 'cancel': {
          const ended = await executor.cancel(task.id, 'user')
          return { ok: ended?.status === 'cancelled', text: `${task.id} is ${ended?.status ?? 'unknown'}.` }
        }
        case 'continue': {
          const next = await continuer.continue(task.id, prompt, { askedBy: 'user' })
          return { ok: true, text: `${next.id} is ${next.status}, run ${next.run}.` }
        }
        case 'output': {
          const text = kindOf(task).textOf?.(task, OUTPUT_BYTES)
          if (text === undefined) return { ok: false, text: `${task.id} has no output.` }
          return { ok: true, text: cutMiddle(text, OUTPUT_BYTES, (n) => `… ${n} bytes …`) }
        }
      }
    } catch (error) {
      return { ok: false, text: errorText(error) }
    }
  }
}
