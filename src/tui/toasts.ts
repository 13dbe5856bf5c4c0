/**
 * Shows toasts for failures and for the end of all tasks, none for starts and steps. The server part shows
 * those for permission requests.
 */
import type { Clock } from '../clock.ts'
import { questionOf } from '../task/task.ts'
import { truncate } from './truncate.ts'
import { detailOf, doerOf } from './rows.ts'
import { isUnfinished, type TaskView } from './task-view.ts'

export interface Toast {
  readonly variant: 'error' | 'info'
  readonly message: string
}

const WIDTH = 160
/** The host shows one toast at a time, so that tasks that end together share one. */
const GATHER_MS = 1000

/** Collects ended tasks, and shows one toast for them. */
export class Toasts {
  readonly #clock: Clock
  readonly #show: (toast: Toast) => void
  /** By task id: the time of the newest end that was seen; 0 before the first. */
  readonly #seen = new Map<string, number>()
  #views: readonly TaskView[] = []
  /** By task id, because a task may have ended twice. */
  readonly #ended = new Map<string, TaskView>()
  #cancel: (() => void) | undefined

  constructor(clock: Clock, show: (toast: Toast) => void) {
    this.#clock = clock
    this.#show = show
  }

  /** Looks for ends among the steps of the session's tasks. */
  see(views: readonly TaskView[]): void {
    for (const view of views) if (this.#isNewEnd(view)) this.#ended.set(view.task.id, view)
    this.#views = views
    if (this.#ended.size === 0) return
    this.#cancel ??= this.#clock.after(GATHER_MS, () => {
      const toast = toastFor([...this.#ended.values()], this.#views)
      this.#ended.clear()
      this.#cancel = undefined
      if (toast) this.#show(toast)
    })
  }

  #isNewEnd(view: TaskView): boolean {
    const { task, lastEnd } = view
    const before = this.#seen.get(task.id)
    const at = lastEnd?.at ?? 0
    this.#seen.set(task.id, at)
    // The end of a task that is seen for the first time happened before the first load: no toast.
    return before !== undefined && at > before && !isUnfinished(view) && !isInterrupted(view)
  }

  dispose(): void {
    this.#cancel?.()
  }
}

/** Whether the run ended because OpenCode ended. It gets no toast, because the user's next message reports it. */
function isInterrupted({ task }: TaskView): boolean {
  return task.status === 'failed' && task.failure.reason === 'interrupted'
}

/** @param all the tasks of the session */
function toastFor(ended: readonly TaskView[], all: readonly TaskView[]): Toast | undefined {
  const failed = ended.filter(({ phase }) => phase === 'failed')
  // No toast for cancellations, because a person or the parent requested them.
  const isEndOfAll = !all.some(isUnfinished) && ended.some(({ phase }) => phase !== 'cancelled')
  const end = isEndOfAll ? ['All background tasks have ended.'] : []
  const asks = asksOf(ended.filter(({ task }) => questionOf(task) !== undefined))
  const [first, ...others] = failed
  if (!first) {
    const lines = [...asks, ...end]
    return lines.length === 0 ? undefined : { variant: 'info', message: lines.join('\n') }
  }
  const what =
    others.length === 0
      ? `${first.task.description} (${doerOf(first)}) failed: ${detailOf(first) ?? ''}`
      : `${failed.length} tasks failed: ${failed.map(({ task }) => task.description).join(', ')}`
  return { variant: 'error', message: [truncate(`✗ ${what}`, WIDTH), ...asks, ...end].join('\n') }
}

/** Returns a line for the tasks that have ended with a question. */
function asksOf([first, ...others]: readonly TaskView[]): string[] {
  if (!first) return []
  const asking = [first, ...others].map(({ task }) => task.description)
  const what =
    others.length === 0
      ? `${first.task.description} (${doerOf(first)}) ${detailOf(first) ?? ''}`
      : `${asking.length} tasks ask: ${asking.join(', ')}`
  return [truncate(`? ${what}`, WIDTH)]
}
