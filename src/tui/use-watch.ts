/** Provides the state of a `Watch` as a Solid signal. */
import { createEffect, createSignal, onCleanup, type Accessor } from 'solid-js'
import type { TaskView } from './task-view.ts'
import type { Watch } from './watch.ts'

export interface Seen {
  readonly views: readonly TaskView[]
  /** Milliseconds since the Unix epoch. */
  readonly now: number
}

/** @param looksOn true where running times are drawn */
export function createSeen(watch: () => Watch, looksOn: boolean): Accessor<Seen> {
  const [seen, setSeen] = createSignal<Seen>({ views: watch().views, now: Date.now() })
  createEffect(() => {
    const current = watch()
    const look = (): void => {
      setSeen({ views: current.views, now: Date.now() })
    }
    look()
    onCleanup(current.subscribe(look, looksOn))
  })
  return seen
}
