/**
 * Collects the problems of the plugin's setup, such as unknown options and tool names that other plugins use too. Each is
 * reported once, in a toast and in the log; `list_background` lists them all.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText, type Opencode } from '../host/opencode.ts'

interface Ports {
  readonly clock: Clock
  readonly log: Log
  readonly opencode: Pick<Opencode, 'warn'>
}

/** Delay that gathers problems in one toast, because OpenCode shows one toast at a time. */
const GATHER_MS = 500

export class Problems {
  readonly #ports: Ports
  readonly #all = new Set<string>()
  #untold: string[] = []
  /** Whether a person has written, and so sees a toast. */
  #isWatched = false
  #cancel: (() => void) | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** One sentence for each problem, in the order of detection. */
  get all(): readonly string[] {
    return [...this.#all]
  }

  add(problem: string): void {
    if (this.#all.has(problem)) return
    this.#all.add(problem)
    this.#untold.push(problem)
    if (this.#isWatched) this.#reportSoon()
  }

  /** Reports the pending problems, because a person who writes sees the toast. */
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
