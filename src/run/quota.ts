/**
 * Providers that are overloaded: while a child waits to ask its provider again, no other is started on it, so that they
 * do not all retry on the same beat.
 */
import type { Clock } from '../clock.ts'
import type { Event } from '../opencode.ts'
import type { TaskStore } from '../task/store.ts'
import type { Scheduler } from './scheduler.ts'

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly scheduler: Scheduler
}

/** Starts wait for a part of this more, so that several processes do not come back on the same beat. */
const JITTER_MS = 1000

interface Hold {
  /** Milliseconds since the Unix epoch. */
  readonly until: number
  readonly cancelTimer: () => void
}

export class Quota {
  readonly #ports: Ports
  readonly #holds = new Map<string, Hold>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Until when the starts on a provider are held back; `undefined` where they are not. */
  heldUntil(providerID: string): number | undefined {
    return this.#holds.get(providerID)?.until
  }

  handleEvent(event: Event): void {
    if (event.type !== 'session.status' || event.properties.status.type !== 'retry') return
    const task = this.#ports.store.findBySession(event.properties.sessionID)
    if (task?.kind === 'agent' && task.model) this.#hold(task.model.providerID, event.properties.status.next)
  }

  dispose(): void {
    for (const { cancelTimer } of this.#holds.values()) cancelTimer()
    this.#holds.clear()
  }

  #hold(providerID: string, until: number): void {
    const { clock, scheduler } = this.#ports
    const known = this.#holds.get(providerID)
    if (known && known.until >= until) return
    known?.cancelTimer()
    scheduler.pause(providerID)
    const jitterMs = Math.floor(Math.random() * JITTER_MS)
    const cancelTimer = clock.after(Math.max(0, until - clock.now()) + jitterMs, () => {
      this.#holds.delete(providerID)
      scheduler.resume(providerID)
    })
    this.#holds.set(providerID, { until, cancelTimer })
  }
}
