/**
 * Who may run now: in the order of arrival, never more than `total` at once. A slot belongs to the work, and is free
 * again only when the promise of the work has settled, which is when it has really stopped.
 */
import PQueue from 'p-queue'

export class Scheduler {
  readonly #queue: PQueue
  readonly #waiting = new Map<string, AbortController>()

  constructor(limits: { readonly total: number }) {
    this.#queue = new PQueue({ concurrency: limits.total })
  }

  /** Runs `work` when its turn comes. `work` deals with its own errors. */
  add(id: string, work: () => Promise<void>): void {
    const waiting = new AbortController()
    this.#waiting.set(id, waiting)
    const start = async (): Promise<void> => {
      // From here on p-queue's signal must stay silent: aborted while the work runs, it would give the slot away
      // although the work goes on.
      this.#waiting.delete(id)
      await work()
    }
    this.#queue.add(start, { signal: waiting.signal }).catch((error: unknown) => {
      if (!waiting.signal.aborted) throw error
    })
  }

  /** Takes work out of the queue; false where it runs already, or was never there. */
  remove(id: string): boolean {
    const waiting = this.#waiting.get(id)
    if (!waiting) return false
    this.#waiting.delete(id)
    waiting.abort()
    return true
  }

  /** How many wait before this one; `undefined` where it does not wait. */
  place(id: string): number | undefined {
    const place = [...this.#waiting.keys()].indexOf(id)
    return place === -1 ? undefined : place
  }
}
