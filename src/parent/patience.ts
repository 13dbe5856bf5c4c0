/**
 * Keeps `opencode run` from ending before what it launched: the process exits as soon as its session is idle, so the end
 * of each text of the session is held until a notice has been sent, which has the session go on (contract 10.3). It
 * only waits; the outbox sends.
 */
import type { Clock } from '../clock.ts'
import type { TaskStore } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import type { Outbox } from './outbox.ts'

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly outbox: Outbox
}

export class Patience {
  readonly #ports: Ports
  readonly #waitMs: number
  /** Until when each session may be held, on the monotonic clock. */
  readonly #deadlines = new Map<string, number>()

  /** @param waitMs how long a session may be held in all */
  constructor(ports: Ports, waitMs: number) {
    this.#ports = ports
    this.#waitMs = waitMs
  }

  /** Resolves when a notice is on its way into the session, when there is none to come, or when the time is over. */
  async wait(parentID: string): Promise<void> {
    const { clock, store, outbox } = this.#ports
    if (!this.#awaits(parentID)) return
    const deadline = this.#deadlines.get(parentID) ?? clock.monotonic() + this.#waitMs
    this.#deadlines.set(parentID, deadline)
    const left = deadline - clock.monotonic()
    if (left <= 0) return
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.#awaits(parentID)) return
        unsubscribes.forEach((unsubscribe) => unsubscribe())
        resolve()
      }
      const unsubscribes = [
        store.subscribe(look),
        outbox.subscribe(look),
        clock.after(left, () => {
          unsubscribes.forEach((unsubscribe) => unsubscribe())
          resolve()
        }),
      ]
    })
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
          return task !== undefined && !isService(task)
        })
    }
  }
}

/** A command without a time limit, as a server is, may never end; what is awaited in its output has been told. */
function isService(task: Task): boolean {
  if (task.kind !== 'command' || task.timeoutMs > 0) return false
  return task.notifyOn.length === 0 || 'saw' in task
}
