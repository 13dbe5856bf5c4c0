/** Divides the time of a run into phases, by its record and its recorded steps. Pure. */
import type { Step } from '../task/step.ts'
import type { Interval, Phase, PhaseType } from './session-timeline.ts'

/** The times of a run. */
export interface RunTimes extends Interval {
  /** When it got a slot; absent if it never did. */
  readonly startedAt?: number
}

/** Returns the phases of a run in order of time, without gaps. */
export function phasesOf({ from, to, startedAt }: RunTimes, steps: readonly Step[]): readonly Phase[] {
  const start = startedAt ?? to
  const phases: Phase[] = []
  const add = (type: PhaseType, begin: number, end: number): void => {
    const bounded = { type, from: Math.max(begin, from), to: Math.min(end, to) }
    if (bounded.to > bounded.from) phases.push(bounded)
  }
  add('queued', from, start)
  let type: PhaseType = 'working'
  let since = start
  for (const step of steps) {
    const next: PhaseType = step.at < start || step.at > to ? type : phaseAfter(step, type)
    if (next === type) continue
    add(type, since, step.at)
    type = next
    since = step.at
  }
  add(type, since, to)
  return phases
}

/** Returns the phase of an active run after a step. */
function phaseAfter(step: Step, before: PhaseType): PhaseType {
  switch (step.type) {
    case 'transition':
      if (step.status === 'waiting') return 'permission'
      return step.event === 'permissionReplied' ? 'working' : before
    case 'retry':
      return 'retry'
    case 'answering':
    case 'tool':
      return before === 'retry' ? 'working' : before
    default:
      return before
  }
}

/** Returns the time in phases of these types, in milliseconds. */
export function timeIn(phases: readonly Phase[], types: readonly PhaseType[]): number {
  return phases.filter(({ type }) => types.includes(type)).reduce((sum, { from, to }) => sum + to - from, 0)
}
