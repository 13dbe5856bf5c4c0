/**
 * Reads from the files of a command whether it still runs, and how it ended, after its owner process is gone. Loaded lazily,
 * because few starts find commands of an earlier process.
 */
import type { Outcome } from '../../task/state.ts'
import { isEnded, type CommandTask } from '../../task/task.ts'
import { transition } from '../../task/transition.ts'
import type { Recovered } from '../kind.ts'
import { interrupted, stopped, timeLimit } from '../outcome.ts'
import { isUnmatched, paragraphs } from './command-output.ts'
import { outcomeOf } from './ending.ts'
import { endedAt, isRunning, readEnd, startedAt } from './files.ts'
import type { TakenMatches } from './monitoring.ts'

interface LeftBehind {
  /** The directory of the command's files. */
  readonly directory: string
  readonly now: number
  readonly matches: TakenMatches | undefined
  /** Searches the output that no process has watched, and returns its end. */
  readonly readText: () => Promise<string>
}

export async function recovered(recorded: CommandTask, left: LeftBehind): Promise<Recovered> {
  const { directory, matches, readText } = left
  if (isEnded(recorded))
    return { task: recorded, ends: [{ task: recorded, text: await readText() }], matches }
  // On a full disk the identity of the process may be missing although its end was written.
  const since = startedAt(directory) ?? endedAt(directory)
  const begun =
    since === undefined ? recorded : (transition(recorded, { type: 'slotTaken', at: since }) ?? recorded)
  if (isRunning(directory)) {
    const running = transition(begun, { type: 'prompted', at: recorded.createdAt }) ?? begun
    const known = matches && transition(running, { type: 'monitored', monitored: matches.monitored })
    return { task: known ?? running, ends: [], matches }
  }
  const { at, outcome } = endOfUnobserved(recorded, left, await readText())
  const ended = transition(begun, { type: 'ended', at, outcome })
  if (!ended || !isEnded(ended)) throw new Error(`${recorded.id} cannot end as ${outcome.status}`)
  return { task: ended, ends: [{ task: ended, text: outcome.text }], matches }
}

/** Returns how and when a command ended that no process observed. */
function endOfUnobserved(
  task: CommandTask,
  { directory, now }: LeftBehind,
  output: string,
): { readonly outcome: Outcome; readonly at: number } {
  const since = startedAt(directory)
  const end = readEnd(directory)
  const unwatched = isUnmatched(task) ? ['[No process was running that watches for notify_on texts.]'] : []
  const text = paragraphs([output, ...unwatched])
  const at = endedAt(directory) ?? now
  // `OrphanReaper` kills an orphan for its time limit without recording the cause.
  const isOverLimit = task.timeoutMs > 0 && at - (since ?? at) >= task.timeoutMs
  if (end?.type === 'killed' && isOverLimit)
    return { outcome: stopped(timeLimit(task.timeoutMs, task), { text, exit: end }), at }
  return { outcome: end ? outcomeOf(end, text) : interrupted(task, since !== undefined, { text }), at }
}
