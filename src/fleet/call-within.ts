import type { Clock } from '../clock.ts'

/** Settles as the call does. Rejects after `ms`, and then ignores the answer of the call. */
export function callWithin<Value>(clock: Clock, ms: number, call: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new Error(`no answer in ${Math.round(ms / 1000)} s`)))
    call.then(resolve, reject).finally(cancel)
  })
}

/** The slowest line on which an upload is waited for: 0.5 Mbit/s. */
const BYTES_A_SECOND = 64_000

/** How much longer a call may take that carries this: for a bundle of git, many times as long as one that carries little. */
export function uploadMs(value: unknown): number {
  return Math.round((sizeOf(value) / BYTES_A_SECOND) * 1000)
}

/** Returns about how many bytes a value has as JSON. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 0
  return Object.values(value).reduce((sum: number, part) => sum + sizeOf(part), 0)
}
