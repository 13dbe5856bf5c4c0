/**
 * The plugin's clock in tests on the real OpenCode: it goes as the machine's does, and a test can have time pass for the
 * plugin in a moment, or stand still. OpenCode itself keeps the machine's time. The bundle under test imports this file in the place of
 * `src/clock.ts` (`tests/harness/plugin.ts`), and so does the plugin that drives it: both have the same module.
 */
import type { Clock } from '../../../src/clock.ts'

interface Timer {
  /** On the monotonic clock. */
  readonly dueAt: number
  readonly callback: () => void
  handle: NodeJS.Timeout | undefined
}

/** No test lasts that long; a longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

class SkippingClock implements Clock {
  #skippedMs = 0
  #setByMs = 0
  /** While it stands still: its time. */
  #frozenAt: number | undefined
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.monotonic() + this.#setByMs
  }

  monotonic(): number {
    return this.#frozenAt ?? Date.now() + this.#skippedMs
  }

  /** Somebody sets the machine's time so much later, or earlier: no time passes by that. */
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

  /** When the next timer is due, on the monotonic clock; `undefined` where there is none. */
  get nextAt(): number | undefined {
    let next: number | undefined
    for (const { dueAt } of this.#timers) if (next === undefined || dueAt < next) next = dueAt
    return next
  }

  /** Moves the plugin's monotonic clock forward to `at`, and calls back the timers that are due by then, in their order. */
  skipTo(at: number): void {
    const skippedMs = at - this.monotonic()
    if (this.#frozenAt !== undefined) this.#frozenAt = Math.max(at, this.#frozenAt)
    else if (skippedMs > 0) this.#skippedMs += skippedMs
    const now = this.monotonic()
    const due = [...this.#timers].filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt)
    for (const timer of due) if (this.#timers.has(timer)) this.#fire(timer)
    this.#armAll()
  }

  /** From now on only `skipTo` moves it. */
  freeze(): void {
    this.#frozenAt = this.monotonic()
    this.#armAll()
  }

  /** It goes on from the time that it shows. */
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
