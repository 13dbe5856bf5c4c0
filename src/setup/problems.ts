/**
 * Collects the problems of the plugin's setup: unknown options, tool names that other plugins use too. Each problem is
 * reported once, in a toast and in the log, and `list_background` lists them all.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText, type Opencode } from '../host/opencode.ts'

interface Ports {
  readonly clock: Clock
  readonly log: Log
  readonly opencode: Pick<Opencode, 'warn'>
}

/** The host shows one toast at a time: problems that are found together stand in one. */
const GATHER_MS = 500

export class Problems {
  readonly #ports: Ports
  readonly #all = new Set<string>()
  #untold: string[] = []
  /** Whether somebody surely sees a toast: a person has written. */
  #isWatched = false
  #cancel: (() => void) | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** One sentence each, in the order in which they were found. */
  get all(): readonly string[] {
    return [...this.#all]
  }

  add(problem: string): void {
    if (this.#all.has(problem)) return
    this.#all.add(problem)
    this.#untold.push(problem)
    if (this.#isWatched) this.#reportSoon()
  }

  /** A person writes, and so looks on. */
  personWrote(): void {
    this.#isWatched = true
    if (this.#untold.length > 0) this.#reportSoon()
  }

  dispose(): void {
    this.#cancel?.()
  }

  #reportSoon(): void {
    this.#cancel ??= this.#ports.clock.after(GATHER_MS, () => {
      const { log, opencode } = this.#ports
      const text = this.#untold.join('\n')
      this.#untold = []
      this.#cancel = undefined
      log.warn(text)
      opencode.warn(text).catch((error: unknown) => log.warn(errorText(error)))
    })
  }
}
