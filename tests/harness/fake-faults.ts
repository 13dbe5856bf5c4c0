/** The ways in which a call of the fake host can go wrong on a test's order, each once and in the order given. */
import type { Clock } from '../../src/clock.ts'
import { HostError, type Opencode } from '../../src/host/opencode.ts'

type Method = keyof Opencode

/** `fail`: refused. `hang`: never reached the host. `loseAnswer`: took effect, but nobody was told. */
type Fault = { readonly kind: 'fail'; readonly error: HostError } | { readonly kind: 'hang' | 'loseAnswer' }

/** The limit of `connect`: a port call never waits longer (src/host/opencode.ts). */
const CALL_LIMIT_MS = 15_000

export class FakeFaults {
  readonly #clock: Clock
  readonly #planned = new Map<Method, Fault[]>()
  /** How long a call is on its way to the host, and its answer back; in milliseconds. */
  latencyMs = (): number => 0
  #lives = 1

  constructor(clock: Clock) {
    this.#clock = clock
  }

  plan(method: Method, fault: Fault): void {
    this.#planned.set(method, [...(this.#planned.get(method) ?? []), fault])
  }

  /** Runs a call, or lets it go wrong when its turn has come. Rejects with a `HostError` only. */
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
    return structuredClone(result)
  }

  /** The process of host and callers is gone: what is on its way arrives nowhere. */
  kill(): void {
    this.#lives += 1
    this.clear()
  }

  /** Forgets what was planned. */
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
