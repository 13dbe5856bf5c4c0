/**
 * Time as a port: all code that waits uses a `Clock`, so that tests can advance time manually.
 * Durations are in milliseconds.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch: for people, and for ids. The system clock can be set, even back. */
  now(): number
  /** Milliseconds since an arbitrary moment, for durations: nobody can set this clock. */
  monotonic(): number
  /**
   * Calls `callback` once after `delayMs`, of any length; with `Infinity` never. The returned function cancels the call,
   * and may be called late or twice.
   *
   * @param options.keepsAlive whether a process that has nothing else to do waits for the call instead of exiting
   */
  after(delayMs: number, callback: () => void, options?: { readonly keepsAlive: boolean }): () => void
}

/** `setTimeout` overflows above this, and fires immediately. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback, { keepsAlive } = { keepsAlive: false }) {
    let timer: NodeJS.Timeout
    const arm = (leftMs: number): void => {
      const isLast = !(leftMs > LONGEST_TIMER_MS)
      timer = isLast
        ? setTimeout(callback, leftMs)
        : setTimeout(() => arm(leftMs - LONGEST_TIMER_MS), LONGEST_TIMER_MS)
      if (!keepsAlive) timer.unref()
    }
    arm(delayMs)
    return () => {
      clearTimeout(timer)
    }
  },
}
