/** A clock that stands still until a test moves it. */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'

interface Timer {
  readonly at: number
  /** The number of its creation: timers that are due together fire in this order. */
  readonly order: number
  readonly callback: () => void
}

/** Enough turns of the event loop for long promise chains, such as a queue's next start. */
const TURNS_TO_SETTLE = 3

export class ManualClock implements Clock {
  /** The monotonic time. */
  #now = 0
  readonly #startedAt: number
  readonly #timers = new Set<Timer>()
  /** A heap, the next timer first; a cancelled one stays in it until it would be next. */
  readonly #heap: Timer[] = []
  #created = 0

  /** Starts at a date, which no test mistakes for a duration. */
  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#startedAt = now
  }

  now(): number {
    return this.#startedAt + this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), order: this.#created++, callback }
    this.#timers.add(timer)
    this.#push(timer)
    return () => {
      this.#timers.delete(timer)
    }
  }

  /** The number of pending timers; one that remains at the end of a test is a leak. */
  get pending(): number {
    return this.#timers.size
  }

  /** Fires the timers due within `ms` by time, then creation, and lets the work of each settle. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    for (;;) {
      const timer = this.#next()
      if (timer === undefined || timer.at > end) break
      this.#pop()
      this.#timers.delete(timer)
      this.#now = timer.at
      timer.callback()
      await this.settle()
    }
    this.#now = end
  }

  /** Lets pending work proceed as far as it can without time passing. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < TURNS_TO_SETTLE; turn++) await setImmediate()
  }

  #next(): Timer | undefined {
    for (;;) {
      const [next] = this.#heap
      if (next === undefined || this.#timers.has(next)) return next
      this.#pop()
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let index = heap.push(timer) - 1
    while (index > 0) {
      const above = (index - 1) >> 1
      if (!isBefore(heap[index], heap[above])) return
      swap(heap, index, above)
      index = above
    }
  }

  /** Removes the first timer. */
  #pop(): void {
    const heap = this.#heap
    swap(heap, 0, heap.length - 1)
    heap.pop()
    let index = 0
    for (;;) {
      let first = index
      for (const below of [2 * index + 1, 2 * index + 2])
        if (below < heap.length && isBefore(heap[below], heap[first])) first = below
      if (first === index) return
      swap(heap, index, first)
      index = first
    }
  }
}

function isBefore(a: Timer | undefined, b: Timer | undefined): boolean {
  if (!a || !b) return false
  return a.at === b.at ? a.order < b.order : a.at < b.at
}

function swap(heap: (Timer | undefined)[], a: number, b: number): void {
  ;[heap[a], heap[b]] = [heap[b], heap[a]]
}

/** The clock of one process or instance, whose timers can be counted, and end with it. */
export class OwnClock implements Clock {
  readonly #clock: ManualClock
  readonly #cancels = new Set<() => void>()
  #setByMs = 0
  #hasStopped = false

  constructor(clock: ManualClock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now() + this.#setByMs
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  /** Moves the wall clock by `ms`, without time passing. */
  set(ms: number): void {
    this.#setByMs += ms
  }

  after(delayMs: number, callback: () => void): () => void {
    // A killed process may still be told, by the harness alone, that a call has failed.
    if (this.#hasStopped) return () => {}
    const stop = this.#clock.after(delayMs, () => {
      this.#cancels.delete(cancel)
      callback()
    })
    const cancel = (): void => {
      this.#cancels.delete(cancel)
      stop()
    }
    this.#cancels.add(cancel)
    return cancel
  }

  get pending(): number {
    return this.#cancels.size
  }

  stop(): void {
    this.#hasStopped = true
    for (const cancel of this.#cancels) cancel()
  }
}
