/** The next run of a task that has ended, which keeps the ends of its earlier runs. Pure. */
import { usedTogether, type TaskIdentity } from './state.ts'
import { workedMsOf, type EarlierRun, type EndedTask, type PromptedWork, type Task } from './task.ts'

/** `budget`: the new budget of the task over all of its runs; absent if the prompt adds none. */
export type Budgeted = Pick<PromptedWork, 'budget'>

export type NextRun = Pick<TaskIdentity, 'createdAt'> &
  Pick<PromptedWork, 'prompt' | 'promptIDs'> &
  Partial<Pick<TaskIdentity, 'description'> & Pick<PromptedWork, 'model' | 'askedBy'>> &
  Budgeted

/** How many ends of earlier runs a task stores. */
const EARLIER_RUNS = 8

export function nextRun(task: EndedTask & PromptedWork, next: NextRun): Task {
  const {
    id,
    kind,
    run,
    sessionID,
    parentID,
    agent,
    model,
    maxSteps,
    description,
    prompt: _prompt,
    askedBy: _askedBy,
    earlier = [],
    usedBefore,
    workedBeforeMs = 0,
    budget,
    worktree,
    place,
    after,
    waitedFor,
    ...rest
  } = task
  // The end gets the remaining fields: the compiler names a field that an end does not have.
  type Surplus = Exclude<keyof typeof rest, keyof EarlierRun>
  const ends = [...earlier, { run, ...(rest satisfies { readonly [Key in Surplus]?: never }) }]
  const dropped = ends.slice(0, -EARLIER_RUNS)
  const usages = dropped.map(({ usage }) => usage)
  const before = usedBefore ? [usedBefore, ...usages] : usages
  const workedMs = dropped.reduce((sum, end) => sum + workedMsOf(end, end.endedAt), workedBeforeMs)
  const same = {
    id,
    kind,
    sessionID,
    parentID,
    agent,
    description,
    earlier: ends.slice(-EARLIER_RUNS),
    ...(model && { model }),
    ...(maxSteps !== undefined && { maxSteps }),
    ...(before.length > 0 && { usedBefore: usedTogether(before) }),
    ...(workedMs > 0 && { workedBeforeMs: workedMs }),
    ...(budget && { budget }),
    ...(worktree && { worktree }),
    ...(place && { place }),
    // The run that ended was never released, so that its prompt lacks the results.
    ...(after && { after }),
    ...(waitedFor && { waitedFor }),
  }
  return { ...same, ...next, run: run + 1, status: 'pending' }
}
