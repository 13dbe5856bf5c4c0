import type { Clock } from '../clock.ts'

/** Resolves as a call does. Rejects if that takes longer than `ms`; what it answers later is not heard. */
export function callWithin<Value>(clock: Clock, ms: number, call: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new Error(`no answer in ${Math.round(ms / 1000)} s`)))
    call.then(resolve, reject).finally(cancel)
  })
}
