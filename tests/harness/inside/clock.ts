/**
 * The plugin's clock in tests on the real OpenCode: it goes as the machine's does, and a test can have time pass for the
 * plugin in a moment. OpenCode itself keeps the machine's time. The bundle under test imports this file in the place of
 * `src/clock.ts` (`tests/harness/plugin.ts`), and so does the plugin that drives it: both have the same module.
 */
import type { Clock } from '../../../src/clock.ts'

interface Timer {
  /** By the plugin's time. */
  readonly dueAt: number
  readonly callback: () => void
  handle: NodeJS.Timeout
}

class SkippingClock implements Clock {
  #skippedMs = 0
  readonly #timers = new Set<Timer>()

  now(): number {
    return Date.now() + this.#skippedMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const dueAt = this.now() + Math.max(0, delayMs)
    const timer: Timer = { dueAt, callback, handle: this.#arm(() => this.#fire(timer), delayMs) }
    this.#timers.add(timer)
    return () => {
      clearTimeout(timer.handle)
      this.#timers.delete(timer)
    }
  }

  /** When the next timer is due, by the plugin's time; `undefined` where there is none. */
  get nextAt(): number | undefined {
    let next: number | undefined
    for (const { dueAt } of this.#timers) if (next === undefined || dueAt < next) next = dueAt
    return next
  }

  /** Moves the plugin's time forward to `at`, and calls back the timers that are due by then, in their order. */
  skipTo(at: number): void {
    const skippedMs = at - this.now()
    if (skippedMs > 0) this.#skippedMs += skippedMs
    const now = this.now()
    const due = [...this.#timers].filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt)
    for (const timer of due) if (this.#timers.has(timer)) this.#fire(timer)
    for (const timer of this.#timers) {
      clearTimeout(timer.handle)
      timer.handle = this.#arm(() => this.#fire(timer), timer.dueAt - this.now())
    }
  }

  #arm(callback: () => void, delayMs: number): NodeJS.Timeout {
    return setTimeout(callback, delayMs).unref()
  }

  #fire(timer: Timer): void {
    clearTimeout(timer.handle)
    this.#timers.delete(timer)
    timer.callback()
  }
}

export const systemClock = new SkippingClock()
