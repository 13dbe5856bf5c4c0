/** Computes the sentences about a session that stand out. Pure. */
import { formatCost } from '../text/format.ts'
import { brief } from '../text/sanitize.ts'
import { timeIn } from './phases.ts'
import type { Phase, PhaseType, SessionTimeline, TaskTimeline } from './session-timeline.ts'

/** The files that the agents have read: by path the ids of the tasks, once for each read. */
export type FilesRead = ReadonlyMap<string, readonly string[]>

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

export function findingsOf(
  { tasks, limits }: Pick<SessionTimeline, 'tasks' | 'limits'>,
  filesRead: FilesRead,
  redact: boolean,
): string[] {
  return [
    ...failures(tasks),
    ...waits(tasks, 'queued', slotText(limits?.total), ({ kind }) => kind === 'agent'),
    ...waits(tasks, 'queued', commandText(limits?.commands), ({ kind }) => kind === 'command'),
    ...waits(tasks, 'permission', 'for an answer to a permission request'),
    ...waits(tasks, 'retry', 'for an overloaded provider'),
    ...costs(tasks, redact),
    ...files(filesRead, redact),
    ...unread(tasks),
  ]
}

function slotText(total: number | undefined): string {
  return total === undefined ? 'for a slot' : `for a slot: \`concurrency.total\` is ${total}`
}

function commandText(commands: number | undefined): string {
  return commands === undefined ? 'for a slot' : `for a slot: \`concurrency.commands\` is ${commands}`
}

function waits(
  tasks: readonly TaskTimeline[],
  type: PhaseType,
  what: string,
  isMeant: (task: TaskTimeline) => boolean = () => true,
): string[] {
  const waited = tasks
    .filter(isMeant)
    .map((task) => ({ task, phases: task.runs.flatMap((run) => run.phases) }))
    .filter(({ phases }) => isLong(timeIn(phases, [type]), totalOf(phases)))
  if (waited.length === 0) return []
  const ms = waited.reduce((sum, { phases }) => sum + timeIn(phases, [type]), 0)
  const ofMs = waited.reduce((sum, { phases }) => sum + totalOf(phases), 0)
  const share = Math.round((100 * ms) / ofMs)
  return [`${counted(waited.length, 'task')} waited ${share} % of ${their(waited.length)} time ${what}.`]
}

function isLong(ms: number, ofMs: number): boolean {
  return ms >= SHORTEST_WAIT_MS && ms >= LONG_WAIT * ofMs
}

function totalOf(phases: readonly Phase[]): number {
  return phases.reduce((sum, { from, to }) => sum + to - from, 0)
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
  const share = Math.round((100 * costliest.usage.cost) / total)
  return [`${share} % of the cost of ${formatCost(total)} is one task: ${nameOf(costliest, redact)}.`]
}

function files(filesRead: FilesRead, redact: boolean): string[] {
  return [...filesRead]
    .map(([path, ids]) => ({ path, times: ids.length, agents: new Set(ids).size }))
    .filter(({ times, agents }) => times >= OFTEN && agents > 1)
    .sort((one, other) => other.times - one.times)
    .slice(0, FILES_NAMED)
    .map(
      ({ path, times, agents }) =>
        `The same file was read ${times} times by ${agents} agents${redact ? '' : `: ${brief(path, NAME_LENGTH * 2)}`}.`,
    )
}

function unread(tasks: readonly TaskTimeline[]): string[] {
  const ended = tasks.filter(({ status }) => status === 'completed' || status === 'failed')
  const left = ended.filter(({ marks, runs }) => {
    const endedAt = runs.at(-1)?.to ?? 0
    return !marks.some(({ type, at }) => type === 'read' && at >= endedAt)
  })
  if (left.length === 0) return []
  return [
    `${counted(left.length, 'end')} ${left.length === 1 ? 'was' : 'were'} not read by the parent's model.`,
  ]
}

function nameOf({ id, description }: TaskTimeline, redact: boolean): string {
  return redact ? id : `${id} (${brief(description, NAME_LENGTH)})`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function their(count: number): string {
  return count === 1 ? 'its' : 'their'
}
