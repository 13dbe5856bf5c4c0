/** Time of a simulation: nothing happens between two moments, and all machines share it through clocks of their own. */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'

/** Things that happen within this time happen together, which saves turns of the event loop. */
const GRAIN_MS = 50

export class Time {
  now = 0
  /** By moment, in grains. */
  readonly #due = new Map<number, (() => void)[]>()
  /** A heap of the moments, the next one first. */
  readonly #moments: number[] = []

  after(ms: number, callback: () => void): () => void {
    if (ms === Infinity) return () => {}
    const moment = Math.max(Math.ceil((this.now + ms) / GRAIN_MS), Math.floor(this.now / GRAIN_MS) + 1)
    let live: (() => void) | undefined = callback
    const entries = this.#due.get(moment)
    const entry = (): void => live?.()
    if (entries) entries.push(entry)
    else {
      this.#due.set(moment, [entry])
      this.#push(moment)
    }
    return () => {
      live = undefined
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Runs until `isOver`, or nothing is left, or `untilMs`. */
  async run(isOver: () => boolean, untilMs: number): Promise<void> {
    await setImmediate()
    while (!isOver() && this.#moments.length > 0 && this.now < untilMs) {
      const moment = this.#pop()
      this.now = moment * GRAIN_MS
      const entries = this.#due.get(moment) ?? []
      this.#due.delete(moment)
      for (const entry of entries) entry()
      await setImmediate()
    }
  }

  #push(moment: number): void {
    const heap = this.#moments
    let index = heap.push(moment) - 1
    while (index > 0) {
      const above = (index - 1) >> 1
      if (heap[above]! <= moment) break
      heap[index] = heap[above]!
      index = above
    }
    heap[index] = moment
  }

  #pop(): number {
    const heap = this.#moments
    const first = heap[0]!
    const last = heap.pop()!
    let index = 0
    while (heap.length > 0) {
      let below = 2 * index + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]! < heap[below]!) below += 1
      if (heap[below]! >= last) break
      heap[index] = heap[below]!
      index = below
    }
    if (heap.length > 0) heap[index] = last
    return first
  }
}

/** The clock of a process: it may be off, and a little slow or fast, and it stops with its process. */
export class ProcessClock implements Clock {
  readonly #time: Time
  readonly #isAlive: () => boolean
  readonly #offsetMs: number
  readonly #rate: number

  constructor(time: Time, isAlive: () => boolean, offsetMs = 0, rate = 1) {
    this.#time = time
    this.#isAlive = isAlive
    this.#offsetMs = offsetMs
    this.#rate = rate
  }

  now(): number {
    return Date.UTC(2026, 0, 1) + this.#offsetMs + this.#time.now
  }

  monotonic(): number {
    return this.#offsetMs + this.#time.now * this.#rate
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#time.after(delayMs / this.#rate, () => {
      if (this.#isAlive()) callback()
    })
  }
}

/** Numbers that look random, the same for the same seed. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** From 0 to 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  happens(probability: number): boolean {
    return this.next() < probability
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.next()
  }

  /** Mostly short, sometimes long. */
  around(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }

  of<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.next() * values.length)]!
  }
}
