/**
 * The order in which work starts: the parents take turns, and the work of each starts in the order of its arrival.
 * So one that waits with a hundred tasks does not starve another's one. A queue class for p-queue.
 */
import type { Queue, QueueAddOptions } from 'p-queue'

type Run = () => Promise<unknown>

/** What p-queue passes on from its `add`. */
export interface FairOptions extends QueueAddOptions {
  readonly id: string
  readonly parentID: string
}

interface Waiting {
  readonly id: string
  readonly run: Run
}

export class FairQueue implements Queue<Run, FairOptions> {
  /** The parents whose work waits, the one whose turn is next first. */
  readonly #parents = new Map<string, Waiting[]>()

  get size(): number {
    return [...this.#parents.values()].reduce((sum, waiting) => sum + waiting.length, 0)
  }

  enqueue(run: Run, options?: Partial<FairOptions>): void {
    const { id = '', parentID = '' } = options ?? {}
    const waiting = this.#parents.get(parentID)
    if (waiting) waiting.push({ id, run })
    else this.#parents.set(parentID, [{ id, run }])
  }

  dequeue(): Run | undefined {
    const [next] = this.#parents
    if (!next) return undefined
    const [parentID, waiting] = next
    const first = waiting.shift()
    this.#parents.delete(parentID)
    if (waiting.length > 0) this.#parents.set(parentID, waiting)
    return first?.run
  }

  remove(id: string): void {
    for (const [parentID, waiting] of this.#parents) {
      const left = waiting.filter((each) => each.id !== id)
      if (left.length > 0) this.#parents.set(parentID, left)
      else this.#parents.delete(parentID)
    }
  }

  /** What starts before the work of this id, in its order. */
  filter({ id }: Readonly<Partial<FairOptions>>): Run[] {
    const queues = [...this.#parents.values()]
    const longest = Math.max(0, ...queues.map((waiting) => waiting.length))
    const order = Array.from({ length: longest }, (_, round) =>
      queues.flatMap((waiting) => waiting[round] ?? []),
    ).flat()
    return order
      .slice(
        0,
        order.findIndex((waiting) => waiting.id === id),
      )
      .map(({ run }) => run)
  }

  /** Part of p-queue's interface; we use no priorities. */
  setPriority(): void {}
}
