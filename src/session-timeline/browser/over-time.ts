/** Slots in use and cost, over time. Pure. */
import type { PhaseType, SessionTimeline, TaskTimeline } from '../session-timeline.ts'

/** From `at` on, until the next step. */
export interface Step {
  readonly at: number
  readonly value: number
}

/** In these phases a run holds a slot. */
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

/** The cost of all turns so far: a turn's is known at its end. */
export function costOverTime({ turns, tasks }: Pick<SessionTimeline, 'turns' | 'tasks'>): Step[] {
  const all = [...turns, ...tasks.flatMap((task) => task.turns)]
  return summed(all.map(({ to, cost }) => ({ at: to, value: cost })))
}

/** Sums changes up to steps, one for each time. */
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
