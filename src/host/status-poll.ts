/**
 * Polls `session.status` for all listeners: one call per interval, however many tasks there are, and none without a
 * listener. It only backs up the events, which are faster, so a failed poll waits for the next interval.
 */
import type { Clock } from '../clock.ts'
import type { Log } from './log.ts'
import { errorText, type Opencode, type Statuses } from './opencode.ts'

export type StatusListener = (statuses: Statuses) => void

export class StatusPoll {
  readonly #opencode: Opencode
  readonly #clock: Clock
  readonly #log: Log
  readonly #intervalMs: number
  readonly #listeners = new Set<StatusListener>()
  #cancelNext: (() => void) | undefined

  /** @param intervalMs the option `pollMs` */
  constructor(ports: { opencode: Opencode; clock: Clock; log: Log }, intervalMs: number) {
    this.#opencode = ports.opencode
    this.#clock = ports.clock
    this.#log = ports.log
    this.#intervalMs = intervalMs
  }

  /** Calls the listener with each poll's answer until the function returned is called. */
  subscribe(listener: StatusListener): () => void {
    this.#listeners.add(listener)
    if (!this.#cancelNext) this.#schedule()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#cancelNext?.()
      this.#cancelNext = undefined
    }
  }

  /** Polls at once, because events were missed. */
  pollNow(): void {
    if (this.#listeners.size === 0) return
    this.#cancelNext?.()
    void this.#poll()
  }

  #schedule(): void {
    this.#cancelNext = this.#clock.after(this.#intervalMs, () => {
      void this.#poll()
    })
  }

  async #poll(): Promise<void> {
    const mine = this.#cancelNext
    try {
      const statuses = await this.#opencode.statuses()
      for (const listener of this.#listeners) listener(statuses)
    } catch (error) {
      this.#log.warn(`status poll failed: ${errorText(error)}`)
    }
    // During the call the last listener may have unsubscribed, and a new one may have started another poll.
    if (this.#cancelNext === mine && this.#listeners.size > 0) this.#schedule()
  }
}
