/** Limits the turns in a page, because those of many long tasks alone would make it too large. Pure. */
import { compact } from './browser/compact.ts'
import type { SessionTimeline, TaskTimeline, Turn } from './session-timeline.ts'

/** Leaves out the oldest turns of the tasks with the most turns, so that the page's data without texts has about `maxBytes`. */
export function limitTurns(timeline: SessionTimeline, maxBytes: number): SessionTimeline {
  const { tasks, ...session } = compact({ ...timeline, tasks: timeline.tasks.map(withoutTexts) })
  const sizes = tasks.map(({ turns }) => turns.map(lengthOf))
  const allTurns = sum(sizes.flat())
  const rest = lengthOf({ ...session, tasks }) - allTurns
  let limit = sizes.reduce((most, { length }) => Math.max(most, length), 0)
  let bytes = allTurns
  while (limit > 1 && rest + bytes > maxBytes) {
    limit = Math.floor(limit * 0.9)
    bytes = sum(sizes.map((turns) => sum(turns.slice(-limit))))
  }
  return { ...timeline, tasks: timeline.tasks.map((task) => withNewest(task, limit)) }
}

/** Keeps the cost of the omitted turns, as a cost at the end of the last of them. */
function withNewest(task: TaskTimeline, limit: number): TaskTimeline {
  const old = task.turns.slice(0, -limit)
  const last = old.at(-1)
  if (!last) return task
  const together: Turn = {
    from: last.to,
    to: last.to,
    tokens: sum(old.map(({ tokens }) => tokens)),
    cost: sum(old.map(({ cost }) => cost)),
    tools: [],
  }
  const missing = `its first ${old.length} turns with their tool calls (left out to keep the page small)`
  return { ...task, turns: [together, ...task.turns.slice(-limit)], unknown: [...task.unknown, missing] }
}

function withoutTexts({ texts: _, ...task }: TaskTimeline): TaskTimeline {
  return task
}

/** Returns the length of a value in the page's JSON, with a comma. */
function lengthOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value).replaceAll('<', '\\u003c')) + 1
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0)
}
