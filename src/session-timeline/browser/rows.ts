/** The rows of the picture: the session's own, then the tasks of each agent under its name, then the commands. Pure. */
import { counted } from '../../text/format.ts'
import type { TaskDrawing } from './task-drawing.ts'

export const ROW_HEIGHT = 32
const GROUP_HEIGHT = 26

interface Place {
  readonly top: number
  readonly height: number
}

export type Row = Place &
  (
    | { readonly type: 'session' }
    | { readonly type: 'group'; readonly name: string }
    | { readonly type: 'task'; readonly drawing: TaskDrawing }
  )

/** Returns the rows: agents in the order of their first tasks, each followed by its tasks in order. */
export function rowsOf(drawings: readonly TaskDrawing[]): Row[] {
  const groups = new Map<string, TaskDrawing[]>()
  for (const drawing of drawings.toSorted((a, b) => rank(a) - rank(b) || a.from - b.from)) {
    const name = drawing.task.kind === 'command' ? 'Commands' : (drawing.task.agent ?? 'unknown agent')
    const key = `${drawing.task.kind} ${name}`
    groups.set(key, [...(groups.get(key) ?? []), drawing])
  }
  const rows: Row[] = [{ type: 'session', top: 0, height: ROW_HEIGHT }]
  const add = (row: { type: 'group'; name: string } | { type: 'task'; drawing: TaskDrawing }): void => {
    const { top, height } = rows.at(-1) ?? { top: 0, height: 0 }
    rows.push({ ...row, top: top + height, height: row.type === 'group' ? GROUP_HEIGHT : ROW_HEIGHT })
  }
  for (const [key, members] of groups) {
    const name = key.slice(key.indexOf(' ') + 1)
    add({ type: 'group', name: `${name} · ${counted(members.length, 'task')}` })
    for (const drawing of members) add({ type: 'task', drawing })
  }
  return rows
}

/** Commands come after all agents. */
function rank({ task }: TaskDrawing): number {
  return task.kind === 'command' ? 1 : 0
}

export function heightOf(rows: readonly Row[]): number {
  const last = rows.at(-1)
  return last ? last.top + last.height : 0
}

/** Returns the index of the row at a height, by binary search; the nearest one beyond the ends. */
export function rowAt(rows: readonly Row[], y: number): number {
  let [low, high] = [0, rows.length - 1]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((rows[middle]?.top ?? 0) <= y) low = middle
    else high = middle - 1
  }
  return low
}
