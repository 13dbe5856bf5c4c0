/** Reads from a child session how the runs of a recorded agent ended whose process is gone. Pure. */
import type { StoredMessage } from '../../host/opencode.ts'
import { isEnded, transition, type AgentTask, type EndedTask } from '../../task/task.ts'
import type { RunEnd } from '../kind.ts'
import { interrupted } from '../outcome.ts'
import { judge, outcomeOf } from './evidence.ts'
import { readTranscript } from './transcript.ts'

/** A task that was recorded as interrupted, as one that has not ended, since its session may show another end. */
export function reopened(task: AgentTask): AgentTask {
  if (task.status !== 'failed' || task.failure.reason !== 'interrupted') return task
  const { startedAt: _startedAt, endedAt: _endedAt, usage: _usage, failure: _failure, ...rest } = task
  return { ...rest, status: 'pending' }
}

/** The end of a run that nobody has observed; a task that has ended already stays as it is. */
export function endOf(
  task: AgentTask,
  messages: readonly StoredMessage[],
  now: number,
): EndedTask & AgentTask {
  if (isEnded(task)) return task
  const { text, usage, newest, prompted, activity } = readTranscript(messages, task.promptIDs)
  // The record is from when the task was asked for; its messages show that it was started.
  const before = (prompted && transition(task, { type: 'slotTaken', at: task.createdAt })) || task
  const ending = judge(messages, task.promptIDs, undefined, task.maxSteps)?.ending
  const isOwnEnd = ending?.type === 'answered' || ending?.type === 'failed'
  const outcome = isOwnEnd ? outcomeOf(ending) : interrupted(task, prompted, { text, usage })
  // OpenCode may have been away for long since it did something last.
  const at = newest?.info.time.completed ?? activity?.at ?? newest?.info.time.created ?? now
  const ended = transition(before, { type: 'ended', at, outcome })
  if (!ended || !isEnded(ended)) throw new Error(`${task.id} cannot end as ${outcome.status}`)
  return ended as EndedTask & AgentTask
}

/** The ends of the runs before this one: each may have been owed still when the next was asked for. */
export function earlierEnds(task: AgentTask, messages: readonly StoredMessage[]): RunEnd[] {
  const { id, kind, sessionID, parentID, agent, description, prompt } = task
  const same = { id, kind, sessionID, parentID, agent, description, prompt }
  const earlier = task.earlier ?? []
  return earlier.map((end, index) => {
    // Messages from the next run's prompt on do not belong to this run.
    const [nextID] = (earlier[index + 1] ?? task).promptIDs
    const next = messages.findIndex(({ info }) => info.id === nextID)
    const run = next === -1 ? messages : messages.slice(0, next)
    return { task: { ...same, ...end }, text: readTranscript(run, end.promptIDs).text }
  })
}
