/** Time limits that begin at a time of the wall clock. */
import type { Clock } from '../clock.ts'

/**
 * What is left of a time limit that began at a time of the wall clock, in another process perhaps. A machine's time that
 * was set back since makes it no longer than the whole.
 */
export function leftOf(limitMs: number, startedAt: number, clock: Clock): number {
  return Math.min(limitMs, Math.max(0, startedAt + limitMs - clock.now()))
}
