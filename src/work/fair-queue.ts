/**
 * The order in which work starts: the parents take turns, and the work of each starts in the order of its arrival.
 * So one that waits with a hundred tasks does not starve another's one. A queue class for p-queue; to add, to start and
 * to remove cost the same however many wait.
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
  readonly parentID: string
  readonly run: Run
}

/** The work of one parent, the oldest first. What was removed stays in it until its turn would have come. */
interface Line {
  entries: Waiting[]
  /** Where the first stands that has not started. */
  head: number
}

export class FairQueue implements Queue<Run, FairOptions> {
  /** The parents whose work waits, the one whose turn is next first. */
  readonly #lines = new Map<string, Line>()
  /** What waits, and was not removed. */
  readonly #waiting = new Map<string, Waiting>()

  get size(): number {
    return this.#waiting.size
  }

  enqueue(run: Run, options?: Partial<FairOptions>): void {
    const { id = '', parentID = '' } = options ?? {}
    const entry = { id, parentID, run }
    this.#waiting.set(id, entry)
    const line = this.#lines.get(parentID)
    if (line) line.entries.push(entry)
    else this.#lines.set(parentID, { entries: [entry], head: 0 })
  }

  dequeue(): Run | undefined {
    for (;;) {
      const [next] = this.#lines
      if (!next) return undefined
      const [parentID, line] = next
      const first = this.#shift(line)
      // Its turn comes again when all others have had theirs.
      this.#lines.delete(parentID)
      if (!first) continue
      if (line.head < line.entries.length) this.#lines.set(parentID, line)
      this.#waiting.delete(first.id)
      return first.run
    }
  }

  remove(id: string): void {
    this.#waiting.delete(id)
  }

  /** What starts before the work of this id. */
  filter({ id = '' }: Readonly<Partial<FairOptions>>): Run[] {
    const entry = this.#waiting.get(id)
    if (!entry) return []
    const own = this.#first(entry.parentID).indexOf(entry)
    let isBehind = false
    return [...this.#lines.keys()].flatMap((parentID) => {
      isBehind ||= parentID === entry.parentID
      // Until its turn each parent has as many as its own before it, and those that stand before its own one more.
      return this.#first(parentID, isBehind ? own : own + 1).map(({ run }) => run)
    })
  }

  /** Part of p-queue's interface; we use no priorities. */
  setPriority(): void {}

  /** Takes the first of a line that was not removed. */
  #shift(line: Line): Waiting | undefined {
    while (line.head < line.entries.length) {
      const entry = line.entries[line.head++]
      if (line.head * 2 > line.entries.length) {
        line.entries = line.entries.slice(line.head)
        line.head = 0
      }
      if (entry && this.#isWaiting(entry)) return entry
    }
    return undefined
  }

  /** The first `count` of a parent's that wait. */
  #first(parentID: string, count = Number.POSITIVE_INFINITY): Waiting[] {
    const { entries, head } = this.#lines.get(parentID) ?? { entries: [], head: 0 }
    const found: Waiting[] = []
    for (let index = head; index < entries.length && found.length < count; index += 1) {
      const entry = entries[index]
      if (entry && this.#isWaiting(entry)) found.push(entry)
    }
    return found
  }

  #isWaiting(entry: Waiting): boolean {
    return this.#waiting.get(entry.id) === entry
  }
}
