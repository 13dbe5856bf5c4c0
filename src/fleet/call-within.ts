import type { Clock } from '../clock.ts'

/** Settles as the call does. Rejects after `ms`, and then ignores the answer of the call. */
export function callWithin<Value>(clock: Clock, ms: number, call: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new Error(`no answer in ${Math.round(ms / 1000)} s`)))
    call.then(resolve, reject).finally(cancel)
  })
}

/** A call that carries more bytes, such as a bundle of git, has a time limit by its size. */
export const LARGE_BYTES = 100_000
/** The slowest line on which such a call is waited for: 0.5 Mbit/s. */
const BYTES_A_SECOND = 64_000

/** How much longer a call may take that carries so many bytes, in milliseconds. */
export function transferMs(bytes: number): number {
  return Math.round((bytes / BYTES_A_SECOND) * 1000)
}

/** Returns about how many bytes a value has as JSON. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 0
  return Object.values(value).reduce((sum: number, part) => sum + sizeOf(part), 0)
}
