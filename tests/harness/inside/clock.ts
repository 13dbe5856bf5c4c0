/**
 * The plugin's clock in tests on the real OpenCode: it goes as the machine's does, and a test can have time pass for the
 * plugin in a moment, or stand still. OpenCode itself keeps the machine's time. The bundle under test imports this file in the place of
 * `src/clock.ts` (`tests/harness/plugin.ts`), and so does the plugin that drives it: both have the same module.
 */
import type { Clock } from '../../../src/clock.ts'

interface Timer {
  /** By the plugin's time. */
  readonly dueAt: number
  readonly callback: () => void
  handle: NodeJS.Timeout | undefined
}

class SkippingClock implements Clock {
  #skippedMs = 0
  /** While it stands still: the time that it shows. */
  #frozenAt: number | undefined
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#frozenAt ?? Date.now() + this.#skippedMs
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
    if (this.#frozenAt !== undefined) this.#frozenAt = Math.max(at, this.#frozenAt)
    else if (skippedMs > 0) this.#skippedMs += skippedMs
    const now = this.now()
    const due = [...this.#timers].filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt)
    for (const timer of due) if (this.#timers.has(timer)) this.#fire(timer)
    this.#armAll()
  }

  /** From now on only `skipTo` moves it. */
  freeze(): void {
    this.#frozenAt = this.now()
    this.#armAll()
  }

  /** It goes on from the time that it shows. */
  thaw(): void {
    this.#skippedMs = this.now() - Date.now()
    this.#frozenAt = undefined
    this.#armAll()
  }

  #armAll(): void {
    for (const timer of this.#timers) {
      clearTimeout(timer.handle)
      timer.handle = this.#arm(() => this.#fire(timer), timer.dueAt - this.now())
    }
  }

  #arm(callback: () => void, delayMs: number): NodeJS.Timeout | undefined {
    return this.#frozenAt === undefined ? setTimeout(callback, delayMs).unref() : undefined
  }

  #fire(timer: Timer): void {
    clearTimeout(timer.handle)
    this.#timers.delete(timer)
    timer.callback()
  }
}

export const systemClock = new SkippingClock()
