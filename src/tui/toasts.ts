/**
 * The few toasts: what has failed, and that all have ended. Not one for each start and step; of what waits for a
 * permission the server part tells already.
 */
import type { Clock } from '../clock.ts'
import { truncate } from './truncate.ts'
import { detailOf, doerOf } from './rows.ts'
import { isUnfinished, type TaskView } from './task-view.ts'

export interface Toast {
  readonly variant: 'error' | 'info'
  readonly message: string
}

const WIDTH = 160
/** The host shows one toast at a time: what ends together stands in one. */
const GATHER_MS = 1000

/** Gathers what has ended, and shows it. */
export class Toasts {
  readonly #clock: Clock
  readonly #show: (toast: Toast) => void
  #before: readonly TaskView[] = []
  /** By the ids of their tasks: one may have ended twice. */
  readonly #ended = new Map<string, TaskView>()
  #cancel: (() => void) | undefined

  constructor(clock: Clock, show: (toast: Toast) => void) {
    this.#clock = clock
    this.#show = show
  }

  /** The tasks of the session as they are now. */
  see(views: readonly TaskView[]): void {
    for (const view of endedSince(this.#before, views)) this.#ended.set(view.task.id, view)
    this.#before = views
    if (this.#ended.size === 0) return
    this.#cancel ??= this.#clock.after(GATHER_MS, () => {
      const toast = toastFor([...this.#ended.values()], this.#before)
      this.#ended.clear()
      this.#cancel = undefined
      if (toast) this.#show(toast)
    })
  }

  dispose(): void {
    this.#cancel?.()
  }
}

/** What was not there before is no news: it had ended when the session was first looked at. */
function endedSince(before: readonly TaskView[], after: readonly TaskView[]): TaskView[] {
  const unfinished = new Set(before.filter(isUnfinished).map(({ task }) => task.id))
  return after.filter((view) => unfinished.has(view.task.id) && !isUnfinished(view) && !isInterrupted(view))
}

/** OpenCode itself has ended: what it left behind is told with the next message. */
function isInterrupted({ task }: TaskView): boolean {
  return task.status === 'failed' && task.failure.reason === 'interrupted'
}

/** @param all the tasks of the session */
function toastFor(ended: readonly TaskView[], all: readonly TaskView[]): Toast | undefined {
  const failed = ended.filter(({ phase }) => phase === 'failed')
  // What was cancelled, somebody has cancelled.
  const isEndOfAll = !all.some(isUnfinished) && ended.some(({ phase }) => phase !== 'cancelled')
  const end = isEndOfAll ? ['All background tasks have ended.'] : []
  const [first, ...others] = failed
  if (!first) return end[0] === undefined ? undefined : { variant: 'info', message: end[0] }
  const what =
    others.length === 0
      ? `${first.task.description} (${doerOf(first)}) failed: ${detailOf(first) ?? ''}`
      : `${failed.length} tasks failed: ${failed.map(({ task }) => task.description).join(', ')}`
  return { variant: 'error', message: [truncate(`✗ ${what}`, WIDTH), ...end].join('\n') }
}
