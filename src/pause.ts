/** A pause that signals can end early. */
import type { Clock } from './clock.ts'

/** Resolves after `ms`, or when one of the signals aborts; at once if one of them has aborted before. */
export function pause(
  clock: Clock,
  ms: number,
  signals: readonly AbortSignal[],
  options?: { readonly keepsAlive: boolean },
): Promise<void> {
  if (signals.some(({ aborted }) => aborted)) return Promise.resolve()
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel()
      for (const signal of signals) signal.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.after(ms, finish, options)
    for (const signal of signals) signal.addEventListener('abort', finish)
  })
}
