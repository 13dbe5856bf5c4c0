/**
 * Providers that are overloaded: while a child waits to ask its provider again, no other is started on it, so that they
 * do not all retry on the same beat. The hold ends with its cause: when each such child asks again, has ended or was
 * cancelled. A provider can name hours: after `LONGEST_HOLD_MS` one start goes out to see.
 */
import type { Clock } from '../../clock.ts'
import type { SessionStatus } from '../../host/opencode.ts'
import { brief } from '../../text/sanitize.ts'
import type { TimelineWriter } from '../../timeline.ts'
import type { TaskStore } from '../../task/store.ts'
import { isEnded, type Task } from '../../task/task.ts'
import type { Queue } from '../queue.ts'

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly queue: Queue
  readonly timeline: TimelineWriter
}

/** A child that waits to ask its provider again. */
export interface Retry {
  readonly providerID: string
  readonly attempt: number
  /** The provider's message, shortened. */
  readonly message: string
  /** In how many milliseconds it asks again. */
  readonly inMs: number
}

interface WaitingRetry extends Omit<Retry, 'inMs'> {
  /** When it asks again, on the monotonic clock. */
  readonly next: number
}

/** Starts wait for a part of this more, so that several processes do not come back on the same beat. */
const JITTER_MS = 1000
const LONGEST_HOLD_MS = 600_000
const MESSAGE_LENGTH = 120

interface StartHold {
  /** On the monotonic clock. */
  readonly until: number
  /** When a start goes out to see, on the monotonic clock; what another child is told meanwhile does not put it off. */
  readonly probeAt: number
  readonly cancelTimer: () => void
}

export class ProviderBackoff {
  readonly #ports: Ports
  readonly #holds = new Map<string, StartHold>()
  /** By their sessions. */
  readonly #retries = new Map<string, WaitingRetry>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  observeTask(task: Task): void {
    if (isEnded(task)) this.#over(task.sessionID)
  }

  /** For how many milliseconds more the starts on a provider are held back; `undefined` where they are not. */
  heldFor(providerID: string): number | undefined {
    const hold = this.#holds.get(providerID)
    return hold && hold.until - this.#ports.clock.monotonic()
  }

  /** The retry that a child waits for; `undefined` where there is none. */
  retryOf(sessionID: string): Retry | undefined {
    const waiting = this.#retries.get(sessionID)
    if (!waiting) return undefined
    const { next, ...retry } = waiting
    return { ...retry, inMs: Math.max(0, next - this.#ports.clock.monotonic()) }
  }

  observeStatus(sessionID: string, status: SessionStatus): void {
    if (status.type === 'retry') this.#waits(sessionID, status)
    else if (status.type === 'idle') this.#over(sessionID)
    else this.#asks(sessionID)
  }

  dispose(): void {
    for (const { cancelTimer } of this.#holds.values()) cancelTimer()
    this.#holds.clear()
    this.#retries.clear()
  }

  #waits(sessionID: string, { attempt, message, next }: Extract<SessionStatus, { type: 'retry' }>): void {
    const { clock, store } = this.#ports
    const task = store.findBySession(sessionID)
    if (!task || isEnded(task)) return
    const model = 'model' in task ? task.model : undefined
    const retry = {
      providerID: model?.providerID ?? '',
      attempt,
      message: brief(message, MESSAGE_LENGTH),
      // The host names it by the machine's time.
      next: clock.monotonic() + next - clock.now(),
    }
    this.#retries.set(sessionID, retry)
    this.#ports.timeline.add(task.id, { type: 'retry', attempt, message: retry.message })
    if (model) this.#hold(retry.providerID)
  }

  /** It asks again. In its time the hold goes on for the jitter, in which the provider may put it off once more. */
  #asks(sessionID: string): void {
    const retry = this.#retries.get(sessionID)
    if (retry && this.#ports.clock.monotonic() < retry.next) this.#over(sessionID)
    else this.#retries.delete(sessionID)
  }

  /** It waits no more. */
  #over(sessionID: string): void {
    const retry = this.#retries.get(sessionID)
    if (!retry) return
    this.#retries.delete(sessionID)
    if (this.#holds.has(retry.providerID)) this.#hold(retry.providerID)
  }

  /** Holds a provider for as long as its children wait, and lets go of one for which none does. */
  #hold(providerID: string): void {
    const { clock, queue } = this.#ports
    const now = clock.monotonic()
    const waitsUntil = Math.max(0, ...this.#waiting(providerID))
    const held = this.#holds.get(providerID)
    held?.cancelTimer()
    if (waitsUntil <= now) {
      this.#holds.delete(providerID)
      queue.resume(providerID)
      return
    }
    queue.pause(providerID)
    this.#arm(providerID, waitsUntil, held?.probeAt ?? now + LONGEST_HOLD_MS)
  }

  #arm(providerID: string, longest: number, probeAt: number): void {
    const { clock, queue } = this.#ports
    const until = Math.min(longest, probeAt)
    const jitterMs = Math.floor(Math.random() * JITTER_MS)
    const cancelTimer = clock.after(until - clock.monotonic() + jitterMs, () => {
      const waitsUntil = Math.max(0, ...this.#waiting(providerID))
      if (waitsUntil <= clock.monotonic()) {
        this.#hold(providerID)
        return
      }
      // A child waits on: one start shows whether it has to.
      queue.probe(providerID)
      this.#arm(providerID, waitsUntil, clock.monotonic() + LONGEST_HOLD_MS)
    })
    this.#holds.set(providerID, { until, probeAt, cancelTimer })
  }

  #waiting(providerID: string): number[] {
    return [...this.#retries.values()]
      .filter((retry) => retry.providerID === providerID)
      .map(({ next }) => next)
  }
}
