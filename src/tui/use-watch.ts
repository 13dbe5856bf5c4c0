/** Provides the state of a `Watch` as a Solid signal. */
import { createEffect, createSignal, onCleanup, type Accessor } from 'solid-js'
import type { TaskView } from './task-view.ts'
import type { Watch } from './watch.ts'

export interface WatchState {
  readonly views: readonly TaskView[]
  /** Milliseconds since the Unix epoch. */
  readonly now: number
}

/** @param showsTimes true where running times are drawn */
export function createWatchState(watch: () => Watch, showsTimes: boolean): Accessor<WatchState> {
  const [state, setState] = createSignal<WatchState>({ views: watch().views, now: Date.now() })
  createEffect(() => {
    const current = watch()
    const update = (): void => {
      setState({ views: current.views, now: Date.now() })
    }
    update()
    onCleanup(current.subscribe(update, showsTimes))
  })
  return state
}
