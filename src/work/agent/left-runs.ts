/** Reads from a child session how an agent's runs ended after its owner process is gone. Pure. */
import type { StoredMessage } from '../../host/opencode.ts'
import { isCutOff, isEnded, type AgentTask, type EndedTask, type Task } from '../../task/task.ts'
import { transition } from '../../task/transition.ts'
import type { TaskEvent } from '../../task/task-event.ts'
import type { RunEnd } from '../kind.ts'
import { interrupted } from '../outcome.ts'
import { judge, outcomeOf } from './ending.ts'
import { readTranscript } from './transcript.ts'

/** Reopens a task that was recorded as interrupted, because its session may show another end. */
export function reopened(task: AgentTask): AgentTask {
  if (task.status !== 'failed' || !isCutOff(task)) return task
  const { startedAt, endedAt: _endedAt, usage: _usage, failure: _failure, changes: _changes, ...rest } = task
  return startedAt === undefined ? { ...rest, status: 'pending' } : { ...rest, status: 'starting', startedAt }
}

/** Returns a recorded task as running, because its turn still runs. Its permission requests are dropped, and read again. */
export function atWork(task: AgentTask, messages: readonly StoredMessage[], now: number): Task {
  const { permissionRequests } = { permissionRequests: [], ...task }
  const events: readonly TaskEvent[] = [
    { type: 'slotTaken', at: promptedAt(task, messages) },
    { type: 'prompted', at: now },
    ...permissionRequests.map(({ id }) => ({
      type: 'permissionReplied' as const,
      requestID: id,
      at: now,
    })),
  ]
  return events.reduce<Task>((before, event) => transition(before, event) ?? before, task)
}

/** Returns when a run began to work, as its session shows: the record may date from its launch, before a wait in the queue. */
function promptedAt({ createdAt, promptIDs }: AgentTask, messages: readonly StoredMessage[]): number {
  const prompt = messages.find(({ info }) => promptIDs.includes(info.id))
  return prompt?.info.time.created ?? createdAt
}

/** Ends a recorded run by its messages; returns a task that has already ended unchanged. */
export function endOf(
  task: AgentTask,
  messages: readonly StoredMessage[],
  now: number,
): EndedTask & AgentTask {
  if (isEnded(task)) return task
  const transcript = readTranscript(messages, task.promptIDs)
  const { text, usage, newest, prompted, activity } = transcript
  // The record may date from the launch, but the messages show that the task started.
  const before = (prompted && transition(task, { type: 'slotTaken', at: promptedAt(task, messages) })) || task
  const ending = judge(transcript, undefined, task.maxSteps)?.ending
  const isOwnEnd = ending?.type === 'answered' || ending?.type === 'failed'
  const outcome = isOwnEnd ? outcomeOf(ending) : interrupted(task, prompted, { text, usage })
  // OpenCode may have stopped long before now.
  const at = newest?.info.time.completed ?? activity?.at ?? newest?.info.time.created ?? now
  const ended = transition(before, { type: 'ended', at, outcome })
  if (!ended || !isEnded(ended)) throw new Error(`${task.id} cannot end as ${outcome.status}`)
  return ended as EndedTask & AgentTask
}

/** Returns the ends of earlier runs, because the notice of each may still have been owed when the next was launched. */
export function earlierEnds(task: AgentTask, messages: readonly StoredMessage[]): RunEnd[] {
  const { id, kind, sessionID, parentID, agent, description, prompt } = task
  const same = { id, kind, sessionID, parentID, agent, description, prompt }
  const earlier = task.earlier ?? []
  return earlier.map((end, index) => {
    // The messages of this run end before the prompt of the next.
    const [nextID] = (earlier[index + 1] ?? task).promptIDs
    const next = messages.findIndex(({ info }) => info.id === nextID)
    const run = next === -1 ? messages : messages.slice(0, next)
    return { task: { ...same, ...end }, text: readTranscript(run, end.promptIDs).text }
  })
}
