/** Determines the state of an agent's task after its owner process is gone. Loaded lazily, as a bundle of its own. */
import type { Clock } from '../../clock.ts'
import type { Opencode, StoredMessage } from '../../host/opencode.ts'
import { machineOf } from '../../task/place.ts'
import { isEnded, type AgentTask, type EndedTask } from '../../task/task.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import type { Recovered, WorkKind } from '../kind.ts'
import { atWork, earlierEnds, endOf, reopened } from './left-runs.ts'
import { readTranscript, type Transcript } from './transcript.ts'

export interface RecoveryPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Loads what recovers agents on other machines. */
  readonly machines: () => Promise<Pick<WorkKind<AgentTask>, 'recover'>>
  /** How a turn that still runs is treated. */
  readonly leftTurns: () => 'abort' | 'resume'
  /** Reads the end of an ended run from its newest message; `undefined` if that does not show it. */
  readonly answerOf: (task: AgentTask & EndedTask) => Promise<Transcript | undefined>
  /** Aborts a session. Never rejects. */
  readonly abort: (sessionID: string) => Promise<void>
}

/** Rejects with a `HostError`. */
export async function recovered(
  recorded: AgentTask,
  isTold: (task: EndedTask) => boolean,
  { opencode, clock, worktrees, machines, leftTurns, answerOf, abort }: RecoveryPorts,
): Promise<Recovered> {
  if (machineOf(recorded)?.sessionID !== undefined) return (await machines()).recover(recorded, isTold)
  const isSettled = isEnded(recorded) && isTold(recorded)
  if (isSettled && recorded.worktree) await (await worktrees()).moveFromMissing(recorded)
  // An instance records its tasks as interrupted when it ends, but their sessions may show another end.
  const task = isSettled ? recorded : reopened(recorded)
  const areToldToo = earlierEnds(recorded, []).every((earlier) => isTold(earlier.task))
  if (areToldToo && isEnded(task)) {
    // The messages can be long, and only an unreported end needs its text.
    const text = isSettled ? '' : (await answerOf(task))?.text
    if (text !== undefined) return { task, ends: [...earlierEnds(task, []), { task, text }] }
  }
  const messages = await opencode.messages(recorded.sessionID)
  if (!isEnded(task) && leftTurns() === 'resume' && isNewestAsked(task, messages)) {
    // OpenCode reports a session in a worktree only where that is asked for.
    const exclude = task.worktree && opencode.include(task.worktree.directory)
    const isBusy = task.sessionID in (await opencode.statuses().finally(exclude))
    if (isBusy) return { task: atWork(task, messages, clock.now()), ends: earlierEnds(task, messages) }
  }
  const end = endOf(task, messages, clock.now())
  const ended = isEnded(task) || !end.worktree ? end : await (await worktrees()).recover(end)
  const { text } = readTranscript(messages, ended.promptIDs)
  return {
    task: ended,
    ends: [...earlierEnds(ended, messages), { task: ended, text }],
    ...(!isEnded(task) && {
      // A prompt sent while its instance ended can start a turn afterwards (seen on the fake host).
      stopRest: async () => {
        if (isNewestAsked(ended, messages)) await abort(ended.sessionID)
      },
    }),
  }
}

/** Whether a turn in the session answers the task. Otherwise a person has started it since. */
function isNewestAsked({ promptIDs }: AgentTask, messages: readonly StoredMessage[]): boolean {
  const asked = messages.findLast(({ info }) => info.role === 'user')
  return !asked || promptIDs.includes(asked.info.id)
}
