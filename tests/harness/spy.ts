/**
 * A log that can be waited on. What is waited for may already have happened: the items seen so far are looked
 * at first, so a test cannot miss an event by asking too late.
 */
export interface WaitOptions {
  /** Default 40 000. */
  readonly timeoutMs?: number
  /** What is awaited, for the error: "the child's second request". */
  readonly description?: string
  /** The first item that counts, as its number; 0 by default. */
  readonly from?: number
}

interface Waiter<Item> {
  readonly predicate: (item: Item) => boolean
  readonly resolve: (item: Item) => void
  readonly reject: (error: Error) => void
}

const DEFAULT_TIMEOUT_MS = 40_000
const SHOWN_IN_ERRORS = 40

export class SpyLog<Item> {
  readonly #items: Item[] = []
  readonly #waiters = new Set<Waiter<Item>>()
  readonly #describe: (item: Item) => string

  /** `describe` puts an item on one line, for the error of a wait that failed. */
  constructor(describe: (item: Item) => string) {
    this.#describe = describe
  }

  /** Everything seen, the oldest first. */
  get all(): readonly Item[] {
    return this.#items
  }

  add(item: Item): void {
    this.#items.push(item)
    this.changed(item)
  }

  /** Looks again at an item whose fields changed after it was added. */
  changed(item: Item): void {
    for (const waiter of this.#waiters) {
      if (waiter.predicate(item)) waiter.resolve(item)
    }
  }

  /** The first item that matches, now or later. Rejects with a list of what was seen instead. */
  waitFor(predicate: (item: Item) => boolean, options: WaitOptions = {}): Promise<Item> {
    const { from = 0 } = options
    const seen = this.#items.find((item, index) => index >= from && predicate(item))
    if (seen !== undefined) return Promise.resolve(seen)

    const { timeoutMs = DEFAULT_TIMEOUT_MS, description = predicate.toString() } = options
    let resolve!: (item: Item) => void
    let reject!: (error: Error) => void
    const promise = new Promise<Item>((...settle) => {
      ;[resolve, reject] = settle
    })
    const waiter: Waiter<Item> = { predicate, resolve, reject }
    const timer = setTimeout(() => {
      reject(new Error(`Not seen within ${timeoutMs} ms: ${description}\n${this.#seen()}`))
    }, timeoutMs)
    this.#waiters.add(waiter)
    return promise.finally(() => {
      clearTimeout(timer)
      this.#waiters.delete(waiter)
    })
  }

  /** Rejects whoever still waits: nothing more will come. */
  end(reason: string): void {
    for (const waiter of this.#waiters) waiter.reject(new Error(`${reason}\n${this.#seen()}`))
  }

  #seen(): string {
    if (this.#items.length === 0) return 'Seen: nothing'
    const left = this.#items.length - SHOWN_IN_ERRORS
    const lines = this.#items.slice(-SHOWN_IN_ERRORS).map((item) => `  ${this.#describe(item)}`)
    return [`Seen:${left > 0 ? ` (the last ${SHOWN_IN_ERRORS}, ${left} before them)` : ''}`, ...lines].join(
      '\n',
    )
  }
}
