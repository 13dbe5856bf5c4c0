/** Waits until a task is in a wanted state. */
import type { Clock } from '../clock.ts'
import type { TaskStore } from './store.ts'
import type { Task } from './task.ts'

export interface UntilOptions {
  /** Milliseconds; 0: no limit. A negative number or NaN does not wait. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
}

/** Resolves with the task once `isWanted` holds; `undefined` after timeout or abort, or if it is unknown. */
export function waitFor(
  { store, clock }: { readonly store: TaskStore; readonly clock: Clock },
  taskID: string,
  isWanted: (task: Task) => boolean,
  { timeoutMs = 0, signal }: UntilOptions = {},
): Promise<Task | undefined> {
  return new Promise((resolve) => {
    const task = store.get(taskID)
    const isOver = signal?.aborted || timeoutMs < 0 || Number.isNaN(timeoutMs)
    if (!task || isWanted(task) || isOver) {
      resolve(task && isWanted(task) ? task : undefined)
      return
    }
    const finish = (wanted?: Task): void => {
      unsubscribe()
      cancelTimer()
      signal?.removeEventListener('abort', giveUp)
      resolve(wanted)
    }
    const giveUp = (): void => finish()
    const unsubscribe = store.subscribe((changed) => {
      if (changed.id === taskID && isWanted(changed)) finish(changed)
    })
    const cancelTimer = timeoutMs > 0 ? clock.after(timeoutMs, giveUp) : () => {}
    signal?.addEventListener('abort', giveUp)
  })
}
