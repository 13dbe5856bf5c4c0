/**
 * Ends the waits of a parent's tool calls when a person writes there: OpenCode passes the message to the model only after
 * the calls of its step have returned, and a wait may take ten minutes.
 */
export class Waits {
  readonly #waiting = new Set<AbortController>()

  /** Runs the work with a signal that is aborted when a person writes in the parent, or by the caller's signal. */
  async during<Result>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const controller = new AbortController()
    this.#waiting.add(controller)
    try {
      return await work(AbortSignal.any([controller.signal, ...(signal ? [signal] : [])]))
    } finally {
      this.#waiting.delete(controller)
    }
  }

  personWrote(): void {
    for (const controller of this.#waiting) controller.abort()
  }
}
