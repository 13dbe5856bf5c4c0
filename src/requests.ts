/**
 * Receives requests of the terminal UI that only the server plugin can execute (`request-answers.ts`): cancel a pending
 * task, kill a command, continue an ended task, apply or remove its worktree, find tasks that a process has left behind, or
 * write the timeline. A request arrives in the metadata of the task's session (`task/request.ts`), and the answer is written
 * there. A request is the user's act, so that the parent is notified of a task that it cancels.
 */
import type { Log } from './host/log.ts'
import { errorText, type Session } from './host/opencode.ts'
import type { AnswerPorts } from './request-answers.ts'
import type { Owner } from './task/owner.ts'
import { readRecord } from './task/record.ts'
import { readRequest, REQUEST_COMMAND, REQUEST_KEY, type TaskRequest } from './task/request.ts'
import type { TaskRecords } from './task/records.ts'

interface Ports extends AnswerPorts {
  readonly log: Log
  readonly owner: Owner
  readonly records: TaskRecords
}

/** How many handled requests are remembered; a person sends them seconds apart. */
const KEPT_REQUESTS = 100

export class Requests {
  readonly #ports: Ports
  /** The newest handled requests: events repeat each until its answer is written, and two may alternate. */
  readonly #taken = new Set<string>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Observes a command of a terminal UI, which may point at a session whose events do not come here. */
  observeCommand(command: string): void {
    if (!command.startsWith(REQUEST_COMMAND)) return
    const { log, opencode } = this.#ports
    opencode.session(command.slice(REQUEST_COMMAND.length)).then(
      (session) => this.observeSession(session),
      (error: unknown) => log.warn(`${command}: ${errorText(error)}`),
    )
  }

  observeSession(session: Session): void {
    const { id: sessionID, parentID, metadata } = session
    if (parentID === undefined || metadata?.[REQUEST_KEY] === undefined) return
    const request = readRequest(metadata)
    if (!request || request.answer) return
    // An instance in a worktree ignores the request: the instance in the parent's directory handles it.
    if (readRecord(session)?.owner.directory !== this.#ports.owner.directory) return
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
      const { answer: answerTo } = await import('./request-answers.ts')
      const answer = await answerTo(this.#ports, sessionID, parentID, request)
      if (answer) await records.mark(sessionID, { [REQUEST_KEY]: { ...request, answer } })
    } catch (error) {
      const taskID = store.findBySession(sessionID)?.id ?? sessionID
      log.warn(`${taskID}: ${request.kind} could not be answered: ${errorText(error)}`)
    }
  }
}
