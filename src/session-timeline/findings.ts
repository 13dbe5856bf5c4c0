/** Computes the findings about a session, in one sentence each. Pure. */
import { counted, formatCost } from '../text/format.ts'
import { brief, oneLine } from '../text/sanitize.ts'
import { slotsInUse } from './browser/over-time.ts'
import { slotWaitOf } from './dependencies.ts'
import { timeIn } from './phases.ts'
import type { Phase, PhaseType, SessionTimeline, TaskTimeline } from './session-timeline.ts'

/** Facts of the session that are not in the timelines of its tasks. */
export interface Observations {
  /** The files that the agents have read: by path the ids of the tasks, once for each read. */
  readonly filesRead: ReadonlyMap<string, readonly string[]>
  /** The number of ends that the parent's model has not read. */
  readonly unread: number
}

/** The share of its time from which a wait is worth a sentence. */
const LONG_WAIT = 0.2
/** Shorter waits are never worth a sentence. */
const SHORTEST_WAIT_MS = 5000
/** The share of all costs from which one task is worth a sentence. */
const LARGE_COST = 0.5
/** How often several agents must have read one file. */
const OFTEN = 5
const FILES_NAMED = 3
const NAME_LENGTH = 60
const PATH_LENGTH = 120

export function findingsOf(
  { tasks, limits }: Pick<SessionTimeline, 'tasks' | 'limits'>,
  { filesRead, unread }: Observations,
  redact: boolean,
): string[] {
  const byID = new Map(tasks.map((task) => [task.id, task]))
  const agents = tasks.filter(({ kind }) => kind === 'agent')
  const commands = tasks.filter(({ kind }) => kind === 'command')
  return [
    ...failures(tasks),
    ...slotWaits(agents, byID, 'total', limits?.total),
    ...slotWaits(commands, byID, 'commands', limits?.commands),
    ...waits(tasks, msIn('permission'), 'for an answer to a permission request'),
    ...waits(tasks, msIn('retry'), 'for an overloaded provider'),
    ...costs(tasks, redact),
    ...files(filesRead, redact),
    ...unreadEnds(unread),
  ]
}

type MsOf = (task: TaskTimeline) => number

function msIn(type: PhaseType): MsOf {
  return ({ runs }) => timeIn(phasesIn(runs), [type])
}

/** Does not count a wait for other tasks as a wait for a slot. */
function slotWaits(
  tasks: readonly TaskTimeline[],
  byID: ReadonlyMap<string, TaskTimeline>,
  option: string,
  limit: number | undefined,
): string[] {
  const msOf: MsOf = ({ runs, after = [] }) =>
    phasesIn(runs)
      .filter(({ type }) => type === 'queued')
      .map((phase) => slotWaitOf(phase, after, byID))
      .reduce((sum, { from, to }) => sum + to - from, 0)
  // If fewer slots were in use, the reason was a limit or the back-off of the provider or model, or another session.
  const isReached = limit !== undefined && slotsInUse(tasks).some(({ value }) => value >= limit)
  return waits(tasks, msOf, isReached ? `for a slot: \`concurrency.${option}\` is ${limit}` : 'to start')
}

function waits(tasks: readonly TaskTimeline[], msOf: MsOf, what: string): string[] {
  const waited = tasks
    .map((task) => ({ ms: msOf(task), ofMs: totalOf(phasesIn(task.runs)) }))
    .filter(({ ms, ofMs }) => isLong(ms, ofMs))
  if (waited.length === 0) return []
  const sumMs = waited.reduce((sum, { ms }) => sum + ms, 0)
  const sumOfMs = waited.reduce((sum, { ofMs }) => sum + ofMs, 0)
  const number = waited.length
  return [`${counted(number, 'task')} waited ${percent(sumMs, sumOfMs)} of ${their(number)} time ${what}.`]
}

function phasesIn(runs: TaskTimeline['runs']): Phase[] {
  return runs.flatMap(({ phases }) => phases)
}

function isLong(ms: number, ofMs: number): boolean {
  return ms >= SHORTEST_WAIT_MS && ms >= LONG_WAIT * ofMs
}

/** Returns the known time. */
function totalOf(phases: readonly Phase[]): number {
  return timeIn(phases, ['queued', 'working', 'permission', 'retry'])
}

function failures(tasks: readonly TaskTimeline[]): string[] {
  const failed = tasks.filter(({ status }) => status === 'failed')
  if (failed.length === 0) return []
  const reasons = new Map<string, number>()
  for (const { runs } of failed) {
    const reason = runs.at(-1)?.reason ?? 'error'
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  const named = [...reasons].sort(([, one], [, other]) => other - one).map(([reason, n]) => `${n} ${reason}`)
  return [`${failed.length} of ${counted(tasks.length, 'task')} failed: ${named.join(', ')}.`]
}

function costs(tasks: readonly TaskTimeline[], redact: boolean): string[] {
  const total = tasks.reduce((sum, { usage }) => sum + usage.cost, 0)
  const [costliest] = tasks.toSorted((one, other) => other.usage.cost - one.usage.cost)
  if (!costliest || tasks.length < 3 || total === 0 || costliest.usage.cost < LARGE_COST * total) return []
  const share = percent(costliest.usage.cost, total)
  return [`${share} of the tasks' cost of ${formatCost(total)} is one task: ${nameOf(costliest, redact)}.`]
}

function files(filesRead: Observations['filesRead'], redact: boolean): string[] {
  return [...filesRead]
    .map(([path, ids]) => ({ path, times: ids.length, agents: new Set(ids).size }))
    .filter(({ times, agents }) => times >= OFTEN && agents > 1)
    .sort((one, other) => other.times - one.times)
    .slice(0, FILES_NAMED)
    .map(
      ({ path, times, agents }) =>
        `The same file was read ${times} times by ${agents} agents${redact ? '' : `: ${endOf(path)}`}.`,
    )
}

function unreadEnds(number: number): string[] {
  if (number === 0) return []
  return [`${counted(number, 'end')} ${number === 1 ? 'was' : 'were'} not read by the parent's model.`]
}

function nameOf({ id, description }: TaskTimeline, redact: boolean): string {
  return redact ? id : `${id} (${brief(description, NAME_LENGTH)})`
}

/** Cuts the beginning of a long path, because its end says more. */
function endOf(path: string): string {
  const characters = Array.from(oneLine(path))
  return characters.length <= PATH_LENGTH
    ? characters.join('')
    : `…${characters.slice(1 - PATH_LENGTH).join('')}`
}

/** Formats a share; a part of the whole is at most 99 %. */
function percent(part: number, whole: number): string {
  const share = Math.round((100 * part) / whole)
  return `${part < whole ? Math.min(share, 99) : share} %`
}

function their(count: number): string {
  return count === 1 ? 'its' : 'their'
}
