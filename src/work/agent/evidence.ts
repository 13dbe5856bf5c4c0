/** Decides which ending of a run the messages of its session show, and for how long the session must stay idle to prove it. Pure. */
import { NO_USAGE } from '../../task/state.ts'
import type { AgentTask } from '../../task/task.ts'
import { interruption } from '../outcome.ts'
import { judge, type Ending } from './ending.ts'
import { GOES_ON_WITHIN_MS, type Transcript } from './transcript.ts'

/**
 * How long a session must stay idle until no accepted prompt can start a turn in it any more: an abort does not prevent
 * that turn, which starts late (contract 4.8, 2.3).
 */
const STAYS_IDLE_MS = 2000

export const DELETED: Ending = { type: 'deleted', text: '', usage: NO_USAGE }

/** The ending of a run as far as it is proved; `idleMs`: how long the session must stay idle to prove it. */
export interface Finding {
  readonly ending: Ending
  readonly idleMs: number | undefined
}

/**
 * The turn of a prompt. `unsent`: OpenCode has not acknowledged the prompt. `sent`: it may have accepted it. `unsure`:
 * events were missed since, so that OpenCode may have been restarted. `cutOff`: OpenCode has ended its instance.
 */
export type PromptTurn = 'unsent' | 'sent' | 'unsure' | 'cutOff'

/** The state of a run that decides, together with its messages, how it has ended. */
export interface KnownRun {
  readonly task: AgentTask
  readonly turn: PromptTurn
  /** Whether the run is being stopped. */
  readonly isStopping: boolean
  /** The text of its first `session.error`. */
  readonly error: string | undefined
  /** How long the session may be idle without a final answer before the run counts as failed. */
  readonly startTimeoutMs: number
}

export function findingOf(transcript: Transcript, run: KnownRun): Finding {
  const { task, turn, isStopping, error } = run
  const verdict = judge(transcript, error, task.maxSteps)
  if (!verdict) {
    if (wasCutOff(turn)) return cutOff(transcript, task)
    const what = transcript.prompted
      ? 'received its prompt but did not finish an answer'
      : 'never received its prompt'
    const seconds = Math.round(patienceMs(run) / 1000)
    return timedOut(`the session ${what}, and was idle for ${seconds} s`, transcript, run)
  }
  const { ending, holds } = verdict
  if (isStopping) {
    // The abort ended the turn, unless the messages prove an end of its own.
    return holds === 'always'
      ? { ending, idleMs: undefined }
      : { ending: { ...ending, type: 'aborted' }, idleMs: STAYS_IDLE_MS }
  }
  if (ending.type === 'aborted' && turn === 'cutOff') return cutOff(transcript, task)
  // OpenCode aborts the sessions of an instance some milliseconds before it calls `dispose` (contract 9.4).
  if (ending.type === 'aborted') return { ending, idleMs: STAYS_IDLE_MS }
  // Another plugin may retry with a fallback model.
  if (ending.type === 'failed' && ending.failure.reason === 'error' && holds === 'always')
    return { ending, idleMs: GOES_ON_WITHIN_MS }
  return { ending, idleMs: { always: undefined, ifIdle: 0, ifStaysIdle: STAYS_IDLE_MS }[holds] }
}

/** Returns what is found while the session cannot be read. */
export function unread(why: string, run: KnownRun): Finding {
  return timedOut(`the session could not be read: ${why}`, { text: '', usage: NO_USAGE }, run)
}

function timedOut(message: string, { text, usage }: Pick<Ending, 'text' | 'usage'>, run: KnownRun): Finding {
  const failure = { reason: 'timeout' as const, message }
  return { ending: { type: 'failed', failure, text, usage }, idleMs: patienceMs(run) }
}

function cutOff({ prompted, text, usage }: Transcript, task: AgentTask): Finding {
  const failure = interruption(task, prompted)
  return { ending: { type: 'failed', failure, text, usage }, idleMs: STAYS_IDLE_MS }
}

function patienceMs({ turn, isStopping, startTimeoutMs }: KnownRun): number {
  return isStopping || wasCutOff(turn) ? STAYS_IDLE_MS : startTimeoutMs
}

/** Whether a turn that stays idle without an end was cut off: OpenCode has been restarted, or may have been. */
function wasCutOff(turn: PromptTurn): boolean {
  return turn === 'unsure' || turn === 'cutOff'
}
