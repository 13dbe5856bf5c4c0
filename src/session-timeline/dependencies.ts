/** Computes when tasks that waited for others (`after`) were released. Pure. */
import type { Interval, TaskTimeline } from './session-timeline.ts'

/** Returns the end of a task's newest completed run by a time; `undefined` where it had completed none. */
export function completedBy({ runs }: Pick<TaskTimeline, 'runs'>, by: number): number | undefined {
  return runs.findLast(({ status, to }) => status === 'completed' && to <= by)?.to
}

/**
 * Returns the part of a queued phase in which a task waited for a slot alone: after the ends of the tasks for which it
 * waited. It is empty where not all of them had completed by its end, or are known.
 */
export function slotWaitOf(
  { from, to }: Interval,
  after: readonly string[],
  tasks: ReadonlyMap<string, TaskTimeline>,
): Interval {
  const ends = after.map((id) => {
    const task = tasks.get(id)
    return (task && completedBy(task, to)) ?? to
  })
  return { from: Math.max(from, ...ends), to }
}

/**
 * Returns when the wait of a task for others and for a slot was over: the first of its runs that started has their results.
 * It is `undefined` where that run was not recorded.
 */
export function waitEndOf({ runs }: Pick<TaskTimeline, 'runs'>): number | undefined {
  const first = runs.find(({ phases }) => phases.some(({ type }) => type !== 'queued')) ?? runs.at(-1)
  if (first?.status === undefined) return undefined
  return first.phases.find(({ type }) => type === 'queued')?.to ?? first.from
}
