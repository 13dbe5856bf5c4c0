/** Judges from the messages of a child session whether and how its run ended. Pure: `AgentRun` decides when to judge. */
import { cutMiddle, INCOMPLETE, leftOut } from '../../text/format.ts'
import { errorText, type StoredMessage } from '../../host/opencode.ts'
import type { Failure, Incomplete, Outcome, Usage } from '../../task/task.ts'
import { completed, failed, stopped, type StopCause } from '../outcome.ts'
import { isToolStep, readTranscript, textOf, type AssistantTurn } from './transcript.ts'

/** How a child's run ended. `aborted`: its session was aborted, by us or by a person. */
export type Ending = { readonly text: string; readonly usage: Usage } & (
  | { readonly type: 'answered'; readonly incomplete?: Incomplete }
  | { readonly type: 'aborted' }
  | { readonly type: 'deleted' }
  | { readonly type: 'failed'; readonly failure: Failure }
)

/**
 * An ending that the messages show. Some show the same while the run goes on: those hold only in an idle session, or
 * only in one that stays idle, where a message of ours may be about to start a turn.
 */
export interface Verdict {
  readonly ending: Ending
  readonly holds: 'always' | 'ifIdle' | 'ifStaysIdle'
}

/** A provider can answer with a whole page, and it stands in the record. */
const ERROR_BYTES = 4096

/**
 * What the messages show of the run's end, or `undefined` while they show none.
 *
 * @param error what a `session.error` said; decisive only where no message can carry it (contract 1.12, 1.13)
 * @param maxSteps how many model calls the agent may make in a run
 */
export function judge(
  messages: readonly StoredMessage[],
  promptIDs: readonly string[],
  error?: string,
  maxSteps = Infinity,
): Verdict | undefined {
  const verdict = judgeStored(messages, promptIDs, error, maxSteps)
  const stored = new Set(messages.map(({ info }) => info.id))
  // A message is stored some milliseconds after it was taken over, and then has the run go on.
  const awaited = promptIDs.slice(1).some((id) => !stored.has(id))
  return verdict && awaited ? { ...verdict, holds: 'ifStaysIdle' } : verdict
}

function judgeStored(
  messages: readonly StoredMessage[],
  promptIDs: readonly string[],
  error: string | undefined,
  maxSteps: number,
): Verdict | undefined {
  const { begun, asked, answer, newest, text, usage, steps } = readTranscript(messages, promptIDs)
  const said = { text, usage }
  const failedEnding = (message: string, reason: Failure['reason'] = 'error'): Ending => {
    return { ...said, type: 'failed', failure: { reason, message: cutMiddle(message, ERROR_BYTES, leftOut) } }
  }
  if (!begun) return error === undefined ? undefined : { ending: failedEnding(error), holds: 'always' }
  // A message that was queued behind a turn which then fails or is stopped is never answered.
  if (!answer && newest?.info.time.completed !== undefined) {
    if (newest.info.error?.name === 'MessageAbortedError')
      return { ending: { ...said, type: 'aborted' }, holds: 'ifStaysIdle' }
    if (newest.info.error) return { ending: failedEnding(errorText(newest.info.error)), holds: 'ifStaysIdle' }
  }
  // Until it is completed an error can still be written into it: 16 to 300 ms after the first idle (contract 1.5).
  if (answer?.info.time.completed === undefined) return undefined
  const { info, parts } = answer
  if (info.error?.name === 'MessageAbortedError')
    return { ending: { ...said, type: 'aborted' }, holds: 'always' }
  if (info.error) return { ending: failedEnding(errorText(info.error)), holds: 'always' }
  // The context was full and has been summarised: the message that continues the run comes next.
  if (asked === 'summary') return undefined
  // An abort during the provider's back-off (contract 6.4), or a full context of which the summary comes next.
  if (info.finish === undefined) return { ending: { ...said, type: 'aborted' }, holds: 'ifIdle' }
  if (isToolStep(answer)) {
    // The loop goes on, unless the user rejects what a tool asked for (contract 8.2).
    const rejected = parts.findLast((part) => part.type === 'tool' && part.state.status === 'error')
    if (rejected?.type !== 'tool' || rejected.state.status !== 'error') return undefined
    return { ending: failedEnding(rejected.state.error), holds: 'ifIdle' }
  }
  const cut = incompleteOf(answer)
  if (text === '' && usage.toolCalls === 0) {
    const why = cut === undefined || cut === 'noAnswer' ? [] : [INCOMPLETE[cut]]
    const message = ['the agent ended without a word and without using a tool', ...why].join('. ')
    return { ending: failedEnding(message, 'empty'), holds: 'always' }
  }
  // With the last of its steps OpenCode tells the model to stop and to say what is left (seen). An agent of one step is made
  // to answer at once.
  const isStopped = maxSteps > 1 && steps >= maxSteps
  const incomplete = cut ?? (isStopped ? 'steps' : undefined)
  return { ending: { ...said, type: 'answered', ...(incomplete && { incomplete }) }, holds: 'always' }
}

/** Why the text of a run that ended with this answer is no whole answer; `undefined` where it is one. */
function incompleteOf({ info, parts }: AssistantTurn): Incomplete | undefined {
  switch (info.finish) {
    case 'stop':
      return textOf(parts) === '' ? 'noAnswer' : undefined
    case 'length':
      return 'length'
    case 'content-filter':
      return 'contentFilter'
    default:
      return 'noEnd'
  }
}

/** The outcome of a run that ended so; `cause`: why it was stopped, where it was. A run that was faster has its own end. */
export function outcomeOf(ending: Ending, cause?: StopCause): Outcome {
  const { text, usage } = ending
  const said = { text, usage }
  switch (ending.type) {
    case 'answered':
      if (cause?.type === 'loop' && ending.incomplete) return stopped(cause, said)
      return completed(said, ending.incomplete)
    case 'aborted':
      return stopped(cause ?? BY_USER, said)
    case 'deleted':
      return stopped(cause && cause.type !== 'loop' ? cause : BY_USER, said)
    case 'failed':
      // A session that was aborted and then stays idle has stopped.
      if (cause?.type === 'loop' || (cause && ending.failure.reason === 'timeout'))
        return stopped(cause, said)
      return failed(ending.failure.reason, ending.failure.message, said)
  }
}

/** Only a person aborts or deletes a child session besides us. */
const BY_USER: StopCause = { type: 'cancelled', by: 'user' }
