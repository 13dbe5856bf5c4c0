/**
 * Keeps `opencode run` from ending before the tasks that it launched: the process exits as soon as its session is idle, so
 * the end of each text of the session is held until a notice has been sent, which has the session go on (contract 10.3).
 * It only waits; the outbox sends.
 *
 * `opencode run --attach` is a client of a server, in which this plugin runs. The server is not told who its clients are,
 * but `run` creates its sessions with rules that no other client sets, and its messages name no more than the user did.
 */
import type { Clock } from '../clock.ts'
import type { Session } from '../host/opencode.ts'
import type { TaskStore } from '../task/store.ts'
import { leftOf } from '../task/time-limit.ts'
import { outlivesDefault, type CommandTask, type Task } from '../task/task.ts'
import type { Gate } from './gate.ts'
import type { Outbox } from './outbox.ts'

interface Ports {
  readonly clock: Clock
  readonly gate: Gate
  readonly store: TaskStore
  readonly outbox: Outbox
  /** Whether a command listens on a port now, where that is known. */
  readonly isListening: (task: CommandTask) => boolean
}

export interface HeadlessOptions {
  /** How long a session may be held in all for one message of its user. */
  readonly waitMs: number
  /** The time limit of a command that names none. */
  readonly defaultLimitMs: number
}

/** Nothing tells that a command begins to listen, or that the default limit is over of one that has none any more. */
const CHECK_MS = 2000

/** What a client names with a message, as the hook `chat.message` is told. */
export interface NamedByClient {
  readonly agent?: unknown
  readonly model?: unknown
  readonly messageID?: unknown
}

/** Denied in each session that `opencode run` creates (seen): nobody is there to answer. */
const DENIED_BY_RUN = ['question', 'plan_enter', 'plan_exit']

export class HeadlessHold {
  readonly #ports: Ports
  readonly #options: HeadlessOptions
  /** Until when each session may be held, on the monotonic clock. */
  readonly #deadlines = new Map<string, number>()
  /** Ends the wait of each session that is held. */
  readonly #held = new Map<string, () => void>()
  /** Sessions whose newest message of a person may come from `opencode run`. */
  readonly #unattended = new Set<string>()

  constructor(ports: Ports, options: HeadlessOptions) {
    this.#ports = ports
    this.#options = options
    ports.gate.subscribe((parentID, change) => {
      if (change === 'interrupted') this.#held.get(parentID)?.()
    })
  }

  /** Whoever writes in a session that is held sits before it, and is not kept waiting. */
  personWrote(sessionID: string, client: NamedByClient): void {
    const release = this.#held.get(sessionID)
    this.#deadlines.delete(sessionID)
    if (release || isAttended(client)) this.#unattended.delete(sessionID)
    else this.#unattended.add(sessionID)
    release?.()
  }

  /**
   * Resolves when a notice is on its way into the session, when there is none to come, or when the time is over. Never
   * rejects.
   */
  async wait(
    parentID: string,
    { onlyForRun = false }: { readonly onlyForRun?: boolean | undefined } = {},
  ): Promise<void> {
    const { clock, store, outbox } = this.#ports
    if (onlyForRun && !(await this.#isOfRun(parentID))) return
    if (!this.#awaits(parentID)) return
    const deadline = this.#deadlines.get(parentID) ?? clock.monotonic() + this.#options.waitMs
    this.#deadlines.set(parentID, deadline)
    const left = deadline - clock.monotonic()
    if (left <= 0) return
    await new Promise<void>((resolve) => {
      const release = (): void => {
        unsubscribes.forEach((unsubscribe) => unsubscribe())
        cancelCheck()
        this.#held.delete(parentID)
        resolve()
      }
      const look = (): void => {
        if (!this.#awaits(parentID)) release()
      }
      let cancelCheck = (): void => {}
      const checkLater = (): void => {
        cancelCheck = clock.after(CHECK_MS, () => {
          checkLater()
          look()
        })
      }
      checkLater()
      const unsubscribes = [store.subscribe(look), outbox.subscribe(look), clock.after(left, release)]
      this.#held.set(parentID, release)
    })
  }

  async #isOfRun(parentID: string): Promise<boolean> {
    if (!this.#unattended.has(parentID)) return false
    // A session that cannot be asked for is not held.
    return this.#ports.gate.session(parentID).then(wasCreatedByRun, () => false)
  }

  #awaits(parentID: string): boolean {
    const { store, outbox } = this.#ports
    switch (outbox.owes(parentID)) {
      case 'sent':
        return false
      case 'unsent':
        return true
      case 'nothing':
        return [...store.unfinished(parentID)].some((id) => {
          const task = store.get(id)
          return task !== undefined && !this.#isService(task)
        })
    }
  }

  /**
   * Whether a command may never end, as a server does not: it was given no time limit, or it listens on a port. One that lost
   * the default limit by a text of `notify_on` may be a build as well, and is awaited until that limit would be over.
   */
  #isService(task: Task): boolean {
    const { clock, isListening } = this.#ports
    if (task.kind !== 'command' || task.timeoutMs > 0) return false
    const { saw, listens, startedAt } = { saw: undefined, listens: undefined, startedAt: undefined, ...task }
    if (task.notifyOn.length > 0 && !saw) return false
    if (!outlivesDefault(task) || listens || isListening(task)) return true
    return leftOf(this.#options.defaultLimitMs, startedAt ?? task.createdAt, clock) === 0
  }
}

/** OpenCode's other clients name an agent and a model with each message, or an id for it (seen). */
function isAttended({ agent, model, messageID }: NamedByClient): boolean {
  return messageID !== undefined || (agent !== undefined && model !== undefined)
}

function wasCreatedByRun({ permission = [] }: Session): boolean {
  return DENIED_BY_RUN.every((name) =>
    permission.some((rule) => rule.permission === name && rule.pattern === '*' && rule.action === 'deny'),
  )
}
