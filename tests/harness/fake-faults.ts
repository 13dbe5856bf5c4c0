/** Faults that a test plans for calls of the fake host; each happens once, in the order of planning. */
import { klona } from 'klona/json'
import type { Clock } from '../../src/clock.ts'
import { HostError, type Opencode } from '../../src/host/opencode.ts'

type Method = keyof Opencode

/** `fail`: refused. `hang`: never reaches the host. `loseAnswer`: takes effect, but its answer is lost. */
type Fault = { readonly kind: 'fail'; readonly error: HostError } | { readonly kind: 'hang' | 'loseAnswer' }

/** The limit of `connect`: a port call never waits longer (src/host/calls.ts). */
const CALL_LIMIT_MS = 15_000

export class FakeFaults {
  readonly #clock: Clock
  readonly #planned = new Map<Method, Fault[]>()
  /** The latency of a call, and of its answer, in milliseconds. */
  latencyMs = (): number => 0
  #lives = 1

  constructor(clock: Clock) {
    this.#clock = clock
  }

  plan(method: Method, fault: Fault): void {
    this.#planned.set(method, [...(this.#planned.get(method) ?? []), fault])
  }

  /** Runs a call, with the next fault planned for its method. Rejects with a `HostError` only. */
  async call<Result>(method: Method, run: () => Result | Promise<Result>): Promise<Result> {
    const fault = this.#planned.get(method)?.shift()
    if (fault?.kind === 'fail') throw fault.error
    if (fault?.kind === 'hang') return this.#noAnswer(method)
    const lives = this.#lives
    await this.#travel()
    if (lives !== this.#lives) return new Promise(() => {})
    const result = await run()
    await this.#travel()
    if (fault?.kind === 'loseAnswer') return this.#noAnswer(method)
    return klona(result)
  }

  /** Ends the process of host and callers: calls and answers on their way never arrive. */
  kill(): void {
    this.#lives += 1
    this.clear()
  }

  /** Drops the planned faults. */
  clear(): void {
    this.#planned.clear()
  }

  async #travel(): Promise<void> {
    const ms = this.latencyMs()
    if (ms > 0) await new Promise<void>((resolve) => this.#clock.after(ms, resolve))
  }

  #noAnswer(method: Method): Promise<never> {
    return new Promise((_, reject) => {
      this.#clock.after(CALL_LIMIT_MS, () => {
        reject(new HostError('noAnswer', `OpenCode did not answer ${method} within ${CALL_LIMIT_MS} ms`))
      })
    })
  }
}
