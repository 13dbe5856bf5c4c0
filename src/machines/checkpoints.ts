/**
 * Decides when the files of an agent that works elsewhere are fetched: after some minutes or tool calls, one call at a time.
 *
 *   off ──→ waiting ⇄ fetching
 *    ↑─────────┴─────────┘  stop
 */
import type { Clock } from '../clock.ts'

const PERIOD_MS = 300_000
const TOOL_CALLS = 20

export class Checkpoints {
  readonly #clock: Clock
  readonly #fetch: () => Promise<void>
  #calls = 0
  #state: 'off' | 'waiting' | 'fetching' = 'off'
  #cancel = (): void => {}

  /** @param fetch never rejects */
  constructor(clock: Clock, fetch: () => Promise<void>) {
    this.#clock = clock
    this.#fetch = fetch
  }

  start(): void {
    if (this.#state === 'off') this.#wait()
  }

  /** Observes that a tool call of the agent has ended. */
  count(): void {
    this.#calls += 1
    if (this.#calls >= TOOL_CALLS) this.#take()
  }

  /** No fetch follows; one can be under way. */
  stop(): void {
    this.#state = 'off'
    this.#cancel()
  }

  #wait(): void {
    this.#state = 'waiting'
    this.#cancel = this.#clock.after(PERIOD_MS, () => this.#take())
  }

  #take(): void {
    if (this.#state !== 'waiting') return
    this.#state = 'fetching'
    this.#cancel()
    this.#calls = 0
    void this.#fetch().then(() => this.#resume())
  }

  #resume(): void {
    if (this.#state === 'fetching') this.#wait()
  }
}
