/**
 * Keeps `opencode run` from exiting before its tasks. The process exits once its session is idle, so this
 * class holds the end of each text until a notice is sent, which continues it (contract 10.3).
 *
 * `opencode run --attach` is a client of a server that runs this plugin. The server does not know its
 * clients, but `run` creates sessions with rules that no other client sets, and its messages name no more
 * than the user did.
 */
import type { Clock } from '../clock.ts'
import type { Session } from '../host/opencode.ts'
import { dependenciesOf } from '../task/dependency.ts'
import type { Task } from '../task/task.ts'
import type { QuietGate } from './quiet-gate.ts'
import type { Outbox } from './outbox.ts'
import type { ParentTasks } from './parent-tasks.ts'

interface Ports {
  readonly clock: Clock
  readonly gate: QuietGate
  readonly tasks: ParentTasks
  readonly outbox: Outbox
  /** Whether a task may never end, such as a server. */
  readonly isService: (task: Task) => boolean
}

/** Poll interval: no event reports that a command begins to listen, or outlives its default limit. */
const CHECK_MS = 2000

/** The fields that a client sets on a message, as the hook `chat.message` receives them. */
export interface NamedByClient {
  readonly agent?: unknown
  readonly model?: unknown
  readonly messageID?: unknown
}

/** Permissions that `opencode run` denies in each session it creates (seen), because no user can answer. */
const DENIED_BY_RUN = ['question', 'plan_enter', 'plan_exit']

export class HeadlessHold {
  readonly #ports: Ports
  /** Longest total hold for one message of the parent's user, in milliseconds. */
  readonly #waitMs: number
  /** End of the hold, on the monotonic clock; `undefined` without a hold since the user's last message. */
  #deadline: number | undefined
  /** The functions that end the current waits. */
  readonly #held = new Set<() => void>()
  /** Whether the newest message of a person may come from `opencode run`. */
  #isUnattended = false

  constructor(ports: Ports, waitMs: number) {
    this.#ports = ports
    this.#waitMs = waitMs
  }

  /** Releases the hold, because a person who writes in a held session attends it. */
  personWrote(client: NamedByClient): void {
    this.#deadline = undefined
    this.#isUnattended = this.#held.size === 0 && !isAttended(client)
    this.release()
  }

  /**
   * Resolves when the outbox has sent a notice, when none is to be expected, or at the deadline. Never
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

  /** Releases the hold if the parent has nothing to wait for any more. */
  check(): void {
    if (this.#held.size > 0 && !this.#isAwaiting()) this.release()
  }

  /** Lets the parent end its turn. */
  release(): void {
    for (const release of this.#held) release()
  }

  async #isOfRun(): Promise<boolean> {
    // A session that cannot be read is not held.
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
        return [...tasks.unfinished()].some((task) => !isService(task) && dependenciesOf(task).length === 0)
    }
  }
}

/** Whether another client than `run` sent the message: others set agent and model, or an id (seen). */
function isAttended({ agent, model, messageID }: NamedByClient): boolean {
  return messageID !== undefined || (agent !== undefined && model !== undefined)
}

function wasCreatedByRun({ permission = [] }: Session): boolean {
  return DENIED_BY_RUN.every((name) =>
    permission.some((rule) => rule.permission === name && rule.pattern === '*' && rule.action === 'deny'),
  )
}
