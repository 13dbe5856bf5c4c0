/**
 * Time as a port: all code that waits uses a `Clock`, so that tests can advance time manually.
 * Durations are in milliseconds.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch: for people, and for ids. The system clock can be set, even back. */
  now(): number
  /** Milliseconds since an arbitrary moment, for durations: nothing sets this clock. */
  monotonic(): number
  /**
   * Calls `callback` once after `delayMs`, of any length; with `Infinity` never. The returned function cancels the call,
   * and may be called late or twice.
   */
  after(delayMs: number, callback: () => void): () => void
}

/** `setTimeout` overflows above this, and fires immediately. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout
    const arm = (leftMs: number): void => {
      const isLast = !(leftMs > LONGEST_TIMER_MS)
      timer = isLast
        ? setTimeout(callback, leftMs)
        : setTimeout(() => arm(leftMs - LONGEST_TIMER_MS), LONGEST_TIMER_MS)
      // A timer must not keep a process alive that has nothing else to do.
      timer.unref()
    }
    arm(delayMs)
    return () => {
      clearTimeout(timer)
    }
  },
}
