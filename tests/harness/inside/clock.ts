/**
 * The plugin's clock in tests on the real OpenCode: it follows the machine's, and a test can advance or stop
 * it. OpenCode itself uses the machine's time. The bundle under test imports this file instead of
 * `src/clock.ts` (`tests/harness/plugin.ts`), and so does the driver plugin: both share one module.
 */
import type { Clock } from '../../../src/clock.ts'

interface Timer {
  /** The due time on the monotonic clock. */
  readonly dueAt: number
  readonly callback: () => void
  handle: NodeJS.Timeout | undefined
}

/** The longest timer of `setTimeout`; a longer one fires at once. No test lasts that long. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

class SkippingClock implements Clock {
  #skippedMs = 0
  #setByMs = 0
  /** The time of a stopped clock. */
  #frozenAt: number | undefined
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.monotonic() + this.#setByMs
  }

  monotonic(): number {
    return this.#frozenAt ?? Date.now() + this.#skippedMs
  }

  /** Moves the wall clock by `ms`, without time passing. */
  set(ms: number): void {
    this.#setByMs += ms
  }

  after(delayMs: number, callback: () => void): () => void {
    const dueAt = this.monotonic() + Math.max(0, delayMs)
    const timer: Timer = { dueAt, callback, handle: this.#arm(() => this.#fire(timer), delayMs) }
    this.#timers.add(timer)
    return () => {
      clearTimeout(timer.handle)
      this.#timers.delete(timer)
    }
  }

  /** Returns when the next timer is due, on the monotonic clock; `undefined` without timers. */
  get nextAt(): number | undefined {
    let next: number | undefined
    for (const { dueAt } of this.#timers) if (next === undefined || dueAt < next) next = dueAt
    return next
  }

  /** Advances the plugin's monotonic clock to `at`, and fires the timers that are due by then, in order. */
  skipTo(at: number): void {
    const skippedMs = at - this.monotonic()
    if (this.#frozenAt !== undefined) this.#frozenAt = Math.max(at, this.#frozenAt)
    else if (skippedMs > 0) this.#skippedMs += skippedMs
    const now = this.monotonic()
    const due = [...this.#timers].filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt)
    for (const timer of due) if (this.#timers.has(timer)) this.#fire(timer)
    this.#armAll()
  }

  /** Stops the clock; from now on only `skipTo` moves it. */
  freeze(): void {
    this.#frozenAt = this.monotonic()
    this.#armAll()
  }

  /** Starts the clock again at its stopped time. */
  thaw(): void {
    this.#skippedMs = this.monotonic() - Date.now()
    this.#frozenAt = undefined
    this.#armAll()
  }

  #armAll(): void {
    for (const timer of this.#timers) {
      clearTimeout(timer.handle)
      timer.handle = this.#arm(() => this.#fire(timer), timer.dueAt - this.monotonic())
    }
  }

  #arm(callback: () => void, delayMs: number): NodeJS.Timeout | undefined {
    return this.#frozenAt === undefined
      ? setTimeout(callback, Math.min(delayMs, LONGEST_TIMER_MS)).unref()
      : undefined
  }

  #fire(timer: Timer): void {
    clearTimeout(timer.handle)
    this.#timers.delete(timer)
    timer.callback()
  }
}

export const systemClock = new SkippingClock()
