/**
 * Time as a port: everything that waits takes a `Clock`, so that tests can move time by hand.
 * Durations are in milliseconds.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch: for people, and for ids. The machine's time can be set, back as well. */
  now(): number
  /** Milliseconds since some moment, on a clock that nobody sets: for how long something has lasted. */
  monotonic(): number
  /**
   * Calls `callback` once after `delayMs`, however long that is: with `Infinity` never. The function returned cancels it,
   * and may be called late or twice.
   */
  after(delayMs: number, callback: () => void): () => void
}

/** `setTimeout` overflows above this, and fires at once. */
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
      // A background task must not keep a process alive that is otherwise done.
      timer.unref()
    }
    arm(delayMs)
    return () => {
      clearTimeout(timer)
    }
  },
}
