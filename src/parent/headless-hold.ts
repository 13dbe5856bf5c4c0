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
import type { Task } from '../task/task.ts'
import type { Gate } from './gate.ts'
import type { Outbox } from './outbox.ts'
import type { ParentTasks } from './parent-tasks.ts'

interface Ports {
  readonly clock: Clock
  readonly gate: Gate
  readonly tasks: ParentTasks
  readonly outbox: Outbox
  /** Whether a task may never end, as a server does not. */
  readonly isService: (task: Task) => boolean
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
  /** How long the parent may be held in all for one message of its user, in milliseconds. */
  readonly #waitMs: number
  /** Until when it may be held, on the monotonic clock; `undefined` where it was not since its user's message. */
  #deadline: number | undefined
  /** Ends each wait of the moment. */
  readonly #held = new Set<() => void>()
  /** Whether the newest message of a person may come from `opencode run`. */
  #isUnattended = false

  constructor(ports: Ports, waitMs: number) {
    this.#ports = ports
    this.#waitMs = waitMs
  }

  /** Whoever writes in a session that is held sits before it, and is not kept waiting. */
  personWrote(client: NamedByClient): void {
    this.#deadline = undefined
    this.#isUnattended = this.#held.size === 0 && !isAttended(client)
    this.release()
  }

  /**
   * Resolves when a notice is on its way into the parent, when there is none to come, or when the time is over. Never
   * rejects.
   */
  async wait({ onlyForRun = false }: { readonly onlyForRun?: boolean | undefined } = {}): Promise<void> {
    if (onlyForRun && !(await this.#isOfRun())) return
    if (!this.#isAwaiting()) return
    const { clock } = this.#ports
    this.#deadline ??= clock.monotonic() + this.#waitMs
    const left = this.#deadline - clock.monotonic()
    if (left <= 0) return
    await new Promise<void>((resolve) => {
      let cancelCheck = (): void => {}
      const checkLater = (): void => {
        cancelCheck = clock.after(CHECK_MS, () => {
          checkLater()
          this.check()
        })
      }
      checkLater()
      const cancelDeadline = clock.after(left, () => release())
      const release = (): void => {
        cancelCheck()
        cancelDeadline()
        this.#held.delete(release)
        resolve()
      }
      this.#held.add(release)
    })
  }

  /** Something has changed that the parent may be held for. */
  check(): void {
    if (this.#held.size > 0 && !this.#isAwaiting()) this.release()
  }

  /** Lets the parent end its turn. */
  release(): void {
    for (const release of this.#held) release()
  }

  async #isOfRun(): Promise<boolean> {
    // A session that cannot be asked for is not held.
    return this.#isUnattended && (await this.#ports.gate.session().then(wasCreatedByRun, () => false))
  }

  #isAwaiting(): boolean {
    const { isService, outbox, tasks } = this.#ports
    switch (outbox.owes()) {
      case 'sent':
        return false
      case 'unsent':
        return true
      case 'nothing':
        return [...tasks.unfinished()].some((task) => !isService(task))
    }
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
