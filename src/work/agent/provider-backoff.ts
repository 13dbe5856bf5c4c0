/**
 * Holds back starts on an overloaded provider: while a child waits to retry, no task starts on its provider, because all
 * would retry in lockstep. The hold ends when each waiting child has retried, ended or was cancelled. A provider may
 * request a delay of hours, so one task starts as a probe after `LONGEST_HOLD_MS`.
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

/** The retry that a child session waits for. */
export interface Retry {
  readonly providerID: string
  readonly attempt: number
  /** The provider's message, shortened. */
  readonly message: string
  /** Milliseconds until OpenCode retries. */
  readonly inMs: number
}

interface WaitingRetry extends Omit<Retry, 'inMs'> {
  /** When OpenCode retries, on the monotonic clock. */
  readonly next: number
}

/** Maximum of the random delay that is added to a hold, so that several processes do not retry in lockstep. */
const JITTER_MS = 1000
const LONGEST_HOLD_MS = 600_000
const MESSAGE_LENGTH = 120

interface StartHold {
  /** On the monotonic clock. */
  readonly until: number
  /** When one task starts as a probe, on the monotonic clock. Later retries of other children do not delay it. */
  readonly probeAt: number
  readonly cancelTimer: () => void
}

export class ProviderBackoff {
  readonly #ports: Ports
  readonly #holds = new Map<string, StartHold>()
  /** By session id. */
  readonly #retries = new Map<string, WaitingRetry>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  observeTask(task: Task): void {
    if (isEnded(task)) this.#over(task.sessionID)
  }

  /** Milliseconds for which starts on a provider are still held back; `undefined` if they are not. */
  heldFor(providerID: string): number | undefined {
    const hold = this.#holds.get(providerID)
    return hold && hold.until - this.#ports.clock.monotonic()
  }

  /** Returns the retry that a child session waits for, if any. */
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
      // OpenCode gives the time of the system clock.
      next: clock.monotonic() + next - clock.now(),
    }
    this.#retries.set(sessionID, retry)
    this.#ports.timeline.add(task.id, { type: 'retry', attempt, message: retry.message })
    if (model) this.#hold(retry.providerID)
  }

  /** Observes that the child retries. If on schedule, the hold lasts for the jitter, as the provider may defer it once more. */
  #asks(sessionID: string): void {
    const retry = this.#retries.get(sessionID)
    if (retry && this.#ports.clock.monotonic() < retry.next) this.#over(sessionID)
    else this.#retries.delete(sessionID)
  }

  /** Forgets the retry of a session, and updates the hold of its provider. */
  #over(sessionID: string): void {
    const retry = this.#retries.get(sessionID)
    if (!retry) return
    this.#retries.delete(sessionID)
    if (this.#holds.has(retry.providerID)) this.#hold(retry.providerID)
  }

  /** Holds a provider while any of its children waits; otherwise releases it. */
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
      // A child still waits: one start probes whether the provider accepts requests.
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
