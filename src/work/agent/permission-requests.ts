/**
 * Tracks the permission requests of children. A child blocks until its request is answered, so its task becomes `waiting`
 * and names the permission; after `permissionNoticeMs` a notice reports it to the parent. OpenCode retains the requests
 * of an aborted session, so this class rejects those of ended tasks.
 */
import type { Clock } from '../../clock.ts'
import type { Options } from '../../config.ts'
import { formatAsked } from '../../text/format.ts'
import type { Log } from '../../host/log.ts'
import { errorText, HostError, type Opencode, type PermissionRequest } from '../../host/opencode.ts'
import { brief } from '../../text/sanitize.ts'
import { traitsOf } from '../kinds.ts'
import type { StatusPoll } from '../../host/status-poll.ts'
import type { TaskStore } from '../../task/store.ts'
import { isActive, isEnded, type Task } from '../../task/task.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly statuses: StatusPoll
}

/** Interval of reading OpenCode's list of requests while tasks are at work, in case an event was lost. */
const REQUEST_POLL_MS = 30_000

/** Limit of a toast's text, because a requested command can be as long as a file. */
const TOAST_LENGTH = 300

type PermissionOptions = Pick<Options, 'permissionNoticeMs' | 'permissionTimeoutMs'>

interface Open {
  readonly taskID: string
  /** The directory of its session, unless that is the parent's. */
  readonly directory: string | undefined
  readonly cancelNotice: () => void
  cancelLimit: () => void
}

export class PermissionRequests {
  readonly #ports: Ports
  readonly #options: PermissionOptions
  /** Unanswered requests, by id. */
  readonly #open = new Map<string, Open>()
  /** Ids of tasks at work. */
  readonly #active = new Set<string>()
  #polledAt = 0
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, options: PermissionOptions) {
    this.#ports = ports
    this.#options = options
  }

  observeTask(task: Task): void {
    const isResumed = task.status === 'running' && !this.#active.has(task.id)
    if (isActive(task)) this.#active.add(task.id)
    else this.#active.delete(task.id)
    if (isEnded(task)) this.#forget(task)
    this.#poll()
    // A task from before a restart may wait for a permission already.
    if (isResumed) this.observeGap()
  }

  dispose(): void {
    for (const request of this.#open.values()) cancelTimers(request)
    this.#open.clear()
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }

  observeAsked({ id, sessionID, permission, patterns }: PermissionRequest): void {
    const { clock, log, opencode, store } = this.#ports
    const task = store.findBySession(sessionID)
    if (!task || this.#open.has(id)) return
    const asked = { type: 'permissionAsked', request: { id, permission, patterns }, at: clock.now() } as const
    if (!store.dispatch(task.id, asked)) return
    const { permissionNoticeMs, permissionTimeoutMs } = this.#options
    this.#open.set(id, {
      taskID: task.id,
      directory: 'worktree' in task ? task.worktree?.directory : undefined,
      cancelNotice: permissionNoticeMs > 0 ? this.#notifyAfter(permissionNoticeMs, task.id, id) : () => {},
      cancelLimit: () => {},
    })
    if (permissionTimeoutMs > 0) this.#expireAfter(permissionTimeoutMs, id)
    const what = formatAsked([{ permission, patterns }])
    opencode
      .warn(
        brief(
          `${task.description} (${traitsOf(task).workerInSentence(task)}) waits for a permission: ${what}`,
          TOAST_LENGTH,
        ),
      )
      .catch((error: unknown) => log.warn(errorText(error)))
  }

  /** Has the next status poll read the list of requests, because events were missed. */
  observeGap(): void {
    this.#polledAt = -Infinity
  }

  observeReplied(requestID: string): void {
    const request = this.#open.get(requestID)
    if (!request) return
    cancelTimers(request)
    this.#open.delete(requestID)
    const { clock, store } = this.#ports
    store.dispatch(request.taskID, { type: 'permissionReplied', requestID, at: clock.now() })
  }

  #forget({ id }: Task): void {
    for (const [requestID, request] of this.#open) {
      if (request.taskID !== id) continue
      cancelTimers(request)
      this.#open.delete(requestID)
      this.#reject(requestID, request)
    }
  }

  /** Owes the parent a notice unless the request is answered before. Returns the function that cancels it. */
  #notifyAfter(delayMs: number, taskID: string, requestID: string): () => void {
    const { clock, store } = this.#ports
    return clock.after(delayMs, () => {
      store.dispatch(taskID, { type: 'permissionUnanswered', requestID, at: clock.now() })
    })
  }

  /** Rejects a request unless it is answered before, and retries a failed rejection. */
  #expireAfter(delayMs: number, requestID: string): void {
    const request = this.#open.get(requestID)
    if (!request) return
    request.cancelLimit = this.#ports.clock.after(delayMs, () => {
      const message = `No answer within ${this.#options.permissionTimeoutMs / 1000} s. Work without this permission, or report that you cannot.`
      this.#expireAfter(REQUEST_POLL_MS, requestID)
      this.#reject(requestID, request, message)
    })
  }

  #reject(requestID: string, { directory }: Open, message?: string): void {
    this.#ports.opencode.rejectPermission(requestID, message, directory).catch((error: unknown) => {
      // The request was answered first.
      if (error instanceof HostError && error.reason === 'notFound') return
      this.#ports.log.warn(`could not reject a permission request: ${errorText(error)}`)
    })
  }

  /** Polls the list of requests while any task is at work, because an event may be lost. */
  #poll(): void {
    const { clock, statuses } = this.#ports
    if (this.#active.size === 0) {
      this.#stopPolling?.()
      this.#stopPolling = undefined
    } else if (!this.#stopPolling) {
      this.#polledAt = clock.monotonic()
      this.#stopPolling = statuses.subscribe(() => {
        if (clock.monotonic() - this.#polledAt < REQUEST_POLL_MS) return
        this.#polledAt = clock.monotonic()
        void this.#pollRequests()
      })
    }
  }

  async #pollRequests(): Promise<void> {
    // The list lacks requests that arrive while it is on its way: only earlier ones can count as answered.
    const before = [...this.#open.keys()]
    try {
      const requests = await this.#ports.opencode.permissions()
      for (const request of requests) this.observeAsked(request)
      const ids = new Set(requests.map(({ id }) => id))
      for (const id of before) if (!ids.has(id)) this.observeReplied(id)
    } catch (error) {
      this.#ports.log.warn(`could not list permission requests: ${errorText(error)}`)
    }
  }
}

function cancelTimers({ cancelNotice, cancelLimit }: Open): void {
  cancelNotice()
  cancelLimit()
}
