/** Time limits that start at a wall-clock time. */
import type { Clock } from '../clock.ts'

/**
 * Returns the rest of a time limit whose start another process may have recorded, in milliseconds. The rest
 * is never more than the limit, because the wall clock may have been set back since.
 */
export function leftOf(limitMs: number, startedAt: number, clock: Clock): number {
  return Math.min(limitMs, Math.max(0, startedAt + limitMs - clock.now()))
}
