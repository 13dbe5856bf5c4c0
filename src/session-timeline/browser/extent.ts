/** The stretch of time that a picture shows before a zoom. */
import type { Interval, SessionTimeline } from '../session-timeline.ts'
import type { TaskDrawing } from './task-drawing.ts'

/** The shortest stretch of time that a zoom shows. */
export const SHORTEST_SHOWN_MS = 1000

/** From the first to the last time; the time of reading, if something has not ended by then. */
export function extentOf({ turns, readAt }: SessionTimeline, drawings: readonly TaskDrawing[]): Interval {
  let [from, to] = [Infinity, -Infinity]
  const times = [
    ...turns.flatMap((turn) => [turn.from, turn.to]),
    ...drawings.flatMap(({ from: start, to: end, task }) => [start, end, ...task.marks.map(({ at }) => at)]),
  ]
  for (const at of times) {
    from = Math.min(from, at)
    to = Math.max(to, at)
  }
  if (from > to) [from, to] = [readAt - SHORTEST_SHOWN_MS, readAt]
  const room = Math.max((to - from) * 0.01, SHORTEST_SHOWN_MS / 2)
  return { from: from - room, to: to + room }
}
