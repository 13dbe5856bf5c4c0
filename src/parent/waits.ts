/**
 * Ends the waits of a session's tool calls when a person writes in it: OpenCode passes the message to the model only after
 * the calls of its step have returned, and a wait may take ten minutes.
 */
export class Waits {
  readonly #waiting = new Map<string, Set<AbortController>>()

  /** Runs the work with a signal that is aborted when a person writes in the session, or by the caller's signal. */
  async during<Result>(
    sessionID: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const controller = new AbortController()
    const waiting = this.#waiting.get(sessionID) ?? new Set()
    this.#waiting.set(sessionID, waiting.add(controller))
    try {
      return await work(AbortSignal.any([controller.signal, ...(signal ? [signal] : [])]))
    } finally {
      waiting.delete(controller)
      if (waiting.size === 0) this.#waiting.delete(sessionID)
    }
  }

  personWrote(sessionID: string): void {
    for (const controller of this.#waiting.get(sessionID) ?? []) controller.abort()
  }
}
