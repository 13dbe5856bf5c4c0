/**
 * Orders waiting work for p-queue: the parents take turns, and the work of each parent starts in order of
 * arrival, so that a parent with a hundred tasks does not starve another parent. Adding, starting and
 * removing cost the same however many tasks wait.
 */
import type { Queue, QueueAddOptions } from 'p-queue'

type Run = () => Promise<unknown>

/** The options that p-queue passes on from its `add`. */
export interface FairOptions extends QueueAddOptions {
  readonly id: string
  readonly parentID: string
}

interface Waiting {
  readonly id: string
  readonly parentID: string
  readonly run: Run
}

/** The work of one parent, oldest first. A removed entry stays until it reaches the head. */
interface Line {
  entries: Waiting[]
  /** Index of the first entry that has not started. */
  head: number
}

export class FairQueue implements Queue<Run, FairOptions> {
  /** Waiting work by parent, in rotation order: the first parent is next. */
  readonly #lines = new Map<string, Line>()
  /** Waiting entries by id, without removed ones. */
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
      // Deletes and adds the parent again, which moves it to the end of the rotation.
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

  /** Returns the work that starts before the work of this id (for `sizeBy` of p-queue). */
  filter({ id = '' }: Readonly<Partial<FairOptions>>): Run[] {
    const entry = this.#waiting.get(id)
    if (!entry) return []
    const own = this.#first(entry.parentID).indexOf(entry)
    let isBehind = false
    return [...this.#lines.keys()].flatMap((parentID) => {
      isBehind ||= parentID === entry.parentID
      // Round robin: parents ahead of ours in the rotation start `own + 1` tasks first, the others `own`.
      return this.#first(parentID, isBehind ? own : own + 1).map(({ run }) => run)
    })
  }

  /** Required by the interface of p-queue; this plugin uses no priorities. */
  setPriority(): void {}

  /** Removes and returns the first entry of a line that still waits. */
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

  /** Returns the first `count` waiting entries of a parent. */
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
