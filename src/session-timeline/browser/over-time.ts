/** Slots in use and cost, over time. Pure. */
import type { PhaseType, SessionTimeline, TaskTimeline } from '../session-timeline.ts'

/** A value from `at` until the next step. */
export interface Step {
  readonly at: number
  readonly value: number
}

/** The phases in which a run holds a slot. */
const HOLDS_SLOT: ReadonlySet<PhaseType> = new Set(['working', 'permission', 'retry'])

export function slotsInUse(tasks: readonly TaskTimeline[]): Step[] {
  return summed(
    tasks
      .flatMap(({ runs }) => runs.flatMap(({ phases }) => phases))
      .filter(({ type }) => HOLDS_SLOT.has(type))
      .flatMap(({ from, to }) => [
        { at: from, value: 1 },
        { at: to, value: -1 },
      ]),
  )
}

/** Returns the cost of all turns so far; the cost of a turn is known at its end. */
export function costOverTime({ turns, tasks }: Pick<SessionTimeline, 'turns' | 'tasks'>): Step[] {
  const all = [...turns, ...tasks.flatMap((task) => task.turns)]
  return summed(all.map(({ to, cost }) => ({ at: to, value: cost })))
}

/** Adds changes up to steps, one for each time. */
function summed(changes: readonly Step[]): Step[] {
  const steps: { at: number; value: number }[] = []
  let sum = 0
  for (const { at, value } of [...changes].sort((a, b) => a.at - b.at)) {
    sum += value
    const last = steps.at(-1)
    if (last?.at === at) last.value = sum
    else steps.push({ at, value: sum })
  }
  return steps
}
