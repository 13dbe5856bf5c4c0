/**
 * Time as a port: everything that waits takes a `Clock`, so that tests can move time by hand.
 * Durations are in milliseconds.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch: for people, and for ids. The machine's time can be set, back as well. */
  now(): number
  /** Milliseconds since some moment, on a clock that nobody sets: for how long something has lasted. */
  monotonic(): number
  /** Calls `callback` once after `delayMs`; the function returned cancels it, and may be called late or twice. */
  after(delayMs: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    // A background task must not keep a process alive that is otherwise done.
    timer.unref()
    return () => {
      clearTimeout(timer)
    }
  },
}
