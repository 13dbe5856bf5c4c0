/**
 * A task: work that a session delegated and that runs in the background. `state.ts` has its states, and `transition.ts` defines how
 * it gets from one to the next.
 */
import type { Work } from '../work/work.ts'
import { STATUSES } from './status.ts'
import type { TaskIdentity, Usage, Started, Ended, TaskState } from './state.ts'

/** Work that reads prompts, also after its end. */
export type PromptedWork = Extract<Work, { readonly promptIDs: readonly string[] }>

/** A task without its state. */
export type TaskDefinition = TaskIdentity & Work

/** A task before its child session exists. */
export type Draft = Omit<TaskIdentity, 'sessionID'> & Work

export type Task = TaskDefinition & TaskState

export type EndedTask = Extract<Task, Ended>
export type UnfinishedTask = Exclude<Task, EndedTask>
export type AgentTask = Extract<Task, { kind: 'agent' }>
export type CommandTask = Extract<Task, { kind: 'command' }>

/** Returns the usages of a task's ended runs, with those before `earlier` as one sum. */
export function usagesOf(task: Task): Usage[] {
  const { earlier = [], usedBefore } = { earlier: undefined, usedBefore: undefined, ...task }
  const kept = earlier.map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...kept] : kept
  return isEnded(task) ? [...before, task.usage] : before
}

/** The times of a run, as far as they are known. */
type Times = Pick<Task, 'status'> &
  Partial<Pick<Started, 'startedAt' | 'waitedMs'> & Pick<Ended, 'endedAt'>> & {
    readonly waitingSince?: number
  }

/** Returns how long a run was at work by `now`, in milliseconds: without its waits for a slot and for permissions. */
export function workedMsOf({ startedAt, endedAt, waitedMs = 0, waitingSince }: Times, now: number): number {
  if (startedAt === undefined) return 0
  const until = endedAt ?? waitingSince ?? now
  return Math.max(0, until - startedAt - waitedMs)
}

/** Returns how long the ended runs of an agent were at work, in milliseconds; 0 for a command. */
export function workedMsBefore(task: Task): number {
  if (!('promptIDs' in task)) return 0
  const { earlier = [], workedBeforeMs = 0 } = task
  const runs = isEnded(task) ? [...earlier, task] : earlier
  return runs.reduce((sum, run) => sum + workedMsOf(run, run.endedAt), workedBeforeMs)
}

export function isEnded(task: Task): task is EndedTask {
  return STATUSES[task.status].stage === 'ended'
}

/** How many cut-off runs of a task the option `afterRestart` continues. */
const CONTINUED_RUNS = 2

/** Whether a run ended because its host stopped. */
export function isCutOff(end: Task | EarlierRun): boolean {
  return end.status === 'failed' && end.failure.reason === 'interrupted'
}

/** Whether a cut-off task is not continued any more, because restarts have cut off too many of its runs. */
export function isCutOffTooOften(task: Task): boolean {
  const { earlier = [] } = { earlier: undefined, ...task }
  return [...earlier, task].filter(isCutOff).length > CONTINUED_RUNS
}

/** Returns the question to its parent that a task has ended with; `undefined` for none. */
export function questionOf(task: Task): string | undefined {
  return task.status === 'completed' ? task.question : undefined
}

/** Whether the machine of an unfinished task does not answer. */
export function isLost(task: Task): boolean {
  return 'lostAt' in task
}

/** Whether the task holds a slot. */
export function isActive(task: Task): boolean {
  return STATUSES[task.status].stage === 'active'
}

/** Whether a command proved to be a server, so that its default time limit was removed. */
export function outlivesDefault(work: Work): boolean {
  return isOpenEnded(work) && 'timeoutIsDefault' in work && (work.timeoutIsDefault ?? false)
}

/** Whether a command has no time limit, as a server. */
export function isOpenEnded(work: Work): boolean {
  return 'timeoutMs' in work && work.timeoutMs === 0
}

/** The end of a run before the present one. */
export type EarlierRun = NonNullable<PromptedWork['earlier']>[number]
