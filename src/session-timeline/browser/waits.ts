/** Arrows to tasks from those for which they waited. */
import { BAR_MIDDLE } from './row-view.ts'
import type { Row } from './rows.ts'
import { arrow, type Plot } from './shapes.ts'
import { completedBy, waitEndOf } from '../dependencies.ts'

/** A task that waited for another, with the rows of both. */
export interface Wait {
  readonly ids: readonly string[]
  readonly endedAt: number
  readonly startedAt: number
  readonly endedY: number
  readonly startedY: number
}

/** Returns the waits of the tasks that are among the rows. */
export function waitsOf(rows: readonly Row[]): Wait[] {
  const shown = rows.filter((row) => row.type === 'task')
  const byID = new Map(shown.map((row) => [row.drawing.task.id, row]))
  return shown.flatMap(({ drawing: { task }, top }) => {
    const startedAt = waitEndOf(task)
    if (startedAt === undefined) return []
    return (task.after ?? []).flatMap((id) => {
      const first = byID.get(id)
      if (!first) return []
      return {
        ids: [id, task.id],
        // The other task may have started another run since.
        endedAt: completedBy(first.drawing.task, startedAt) ?? Math.min(first.drawing.to, startedAt),
        startedAt,
        endedY: first.top + BAR_MIDDLE,
        startedY: top + BAR_MIDDLE,
      }
    })
  })
}

/** Returns the path data of the arrows within the plot. */
export function arrows(waits: readonly Wait[], { x, left, right }: Plot): string {
  return waits
    .map(({ endedAt, startedAt, endedY, startedY }) => {
      const [x0, x1] = [x(endedAt), x(startedAt)]
      return x0 < left || x0 > right || x1 > right ? '' : arrow(x0, endedY, x1, startedY)
    })
    .join('')
}
