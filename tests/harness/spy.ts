/**
 * A log whose items can be awaited. A wait checks the earlier items first, so that a test cannot miss an
 * event by asking too late.
 */
export interface WaitOptions {
  /** Default `WAIT_LIMIT_MS`. */
  readonly timeoutMs?: number
  /** The awaited item in words, for the error: "the child's second request". */
  readonly description?: string
  /** The index of the first item that counts; 0 by default. */
  readonly from?: number
}

interface Waiter<Item> {
  readonly predicate: (item: Item) => boolean
  readonly resolve: (item: Item) => void
  readonly reject: (error: Error) => void
}

/** How long a test waits for what must come: a busy machine needs a multiple of a quiet one's time. Less than a test may take. */
export const WAIT_LIMIT_MS = 90_000
const SHOWN_IN_ERRORS = 40

export class SpyLog<Item> {
  readonly #items: Item[] = []
  readonly #waiters = new Set<Waiter<Item>>()
  readonly #describe: (item: Item) => string

  /** @param describe returns an item as one line, for the error of a failed wait */
  constructor(describe: (item: Item) => string) {
    this.#describe = describe
  }

  /** All items, oldest first. */
  get all(): readonly Item[] {
    return this.#items
  }

  add(item: Item): void {
    this.#items.push(item)
    this.changed(item)
  }

  /** Checks an item again whose fields have changed. */
  changed(item: Item): void {
    for (const waiter of this.#waiters) {
      if (waiter.predicate(item)) waiter.resolve(item)
    }
  }

  /** Resolves with the first item that matches, past or future; otherwise rejects with the last items. */
  waitFor(predicate: (item: Item) => boolean, options: WaitOptions = {}): Promise<Item> {
    const { from = 0 } = options
    const seen = this.#items.find((item, index) => index >= from && predicate(item))
    if (seen !== undefined) return Promise.resolve(seen)

    const { timeoutMs = WAIT_LIMIT_MS, description = predicate.toString() } = options
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

  /** Rejects all waits, because no more items will arrive. */
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
