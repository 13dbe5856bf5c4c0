/** Makes pieces of work with the same key wait for each other. */
export class Turns {
  /** The newest piece of work of each key. */
  readonly #newest = new Map<string, Promise<unknown>>()

  /** Starts `work` after all earlier work of the key, even if that failed. Settles as `work` does. */
  async take<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const result = (this.#newest.get(key) ?? Promise.resolve()).then(work)
    const settled = result.catch(() => {})
    this.#newest.set(key, settled)
    await settled
    if (this.#newest.get(key) === settled) this.#newest.delete(key)
    return result
  }
}
