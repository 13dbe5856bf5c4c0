/** Judges from the messages of a child session whether and how its run ended. Pure; `AgentRun` decides when to judge. */
import { cutMiddle, INCOMPLETE, leftOut } from '../../text/format.ts'
import { errorText } from '../../host/opencode.ts'
import type { Answered, Failure, Incomplete, Outcome, Usage } from '../../task/state.ts'
import { completed, failed, stopped, type StopCause } from '../outcome.ts'
import { questionIn } from '../../text/question.ts'
import { isToolStep, textOf, type AssistantTurn, type Transcript } from './transcript.ts'

/** How a child's run ended. `aborted`: its session was aborted, by us or by a person. */
export type Ending = { readonly text: string; readonly usage: Usage } & (
  | ({ readonly type: 'answered' } & Answered)
  | { readonly type: 'aborted' }
  | { readonly type: 'deleted' }
  | { readonly type: 'failed'; readonly failure: Failure }
)

/**
 * An ending that the messages show. `always`: conclusive. `ifIdle`: only while the session is idle, because the messages
 * of a run at work look alike. `ifStaysIdle`: only if it stays idle, because one of our prompts may still start a turn.
 */
export interface Verdict {
  readonly ending: Ending
  readonly holds: 'always' | 'ifIdle' | 'ifStaysIdle'
}

/** Limit of an error's text, because a provider can answer with a whole page and the record stores it. */
const ERROR_BYTES = 4096
/** Limit of a question, because the record stores it with each run. */
const QUESTION_BYTES = 2048

/**
 * Returns the ending that a transcript shows, or `undefined` while it shows none.
 *
 * @param error the text of a `session.error`; decisive only if no message can carry it (contract 1.12, 1.13)
 * @param maxSteps the agent's limit of model calls in a run
 */
export function judge(transcript: Transcript, error?: string, maxSteps = Infinity): Verdict | undefined {
  const verdict = judgeStored(transcript, error, maxSteps)
  return verdict && transcript.isAwaiting ? { ...verdict, holds: 'ifStaysIdle' } : verdict
}

function judgeStored(
  { begun, asked, answer, newest, text, usage, steps }: Transcript,
  error: string | undefined,
  maxSteps: number,
): Verdict | undefined {
  const said = { text, usage }
  const failedEnding = (message: string, reason: Failure['reason'] = 'error'): Ending => {
    return { ...said, type: 'failed', failure: { reason, message: cutMiddle(message, ERROR_BYTES, leftOut) } }
  }
  if (!begun) return error === undefined ? undefined : { ending: failedEnding(error), holds: 'always' }
  // OpenCode never answers a prompt that was queued behind a turn which failed or was aborted.
  if (!answer && newest?.info.time.completed !== undefined) {
    if (newest.info.error?.name === 'MessageAbortedError')
      return { ending: { ...said, type: 'aborted' }, holds: 'ifStaysIdle' }
    if (newest.info.error) return { ending: failedEnding(errorText(newest.info.error)), holds: 'ifStaysIdle' }
  }
  // OpenCode can still write an error into an uncompleted answer, 16 to 300 ms after the first idle (contract 1.5).
  if (answer?.info.time.completed === undefined) return undefined
  const { info, parts } = answer
  if (info.error?.name === 'MessageAbortedError')
    return { ending: { ...said, type: 'aborted' }, holds: 'always' }
  if (info.error) return { ending: failedEnding(errorText(info.error)), holds: 'always' }
  // OpenCode has summarised a full context: its message that continues the run follows.
  if (asked === 'summary') return undefined
  // Aborted during a provider backoff (contract 6.4), or the context is full and its summary follows.
  if (info.finish === undefined) return { ending: { ...said, type: 'aborted' }, holds: 'ifIdle' }
  if (isToolStep(answer)) {
    // The loop continues, unless the user has rejected a tool's permission request (contract 8.2).
    const rejected = parts.findLast((part) => part.type === 'tool' && part.state.status === 'error')
    if (rejected?.type !== 'tool' || rejected.state.status !== 'error') return undefined
    return { ending: failedEnding(rejected.state.error), holds: 'ifIdle' }
  }
  const cut = incompleteOf(answer)
  if (text === '' && usage.toolCalls === 0) {
    const why = cut === undefined || cut === 'noAnswer' ? [] : [INCOMPLETE[cut]]
    const message = ['the agent ended without any text or tool call', ...why].join('. ')
    return { ending: failedEnding(message, 'empty'), holds: 'always' }
  }
  // In the last step OpenCode instructs the model to stop and to report the remaining work (seen). An agent of one step
  // must answer at once, so its answer counts as complete.
  const isStopped = maxSteps > 1 && steps >= maxSteps
  const incomplete = cut ?? (isStopped ? 'steps' : undefined)
  // A cut answer may end with a question by chance, and a text before a tool call is not the final answer.
  const question = cut === undefined ? questionIn(textOf(parts))?.question : undefined
  return {
    ending: {
      ...said,
      type: 'answered',
      ...(incomplete && { incomplete }),
      ...(question !== undefined && { question: cutMiddle(question, QUESTION_BYTES, leftOut) }),
    },
    holds: 'always',
  }
}

/** Returns why this last answer of a run is incomplete; `undefined` if it is complete. */
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

/** Returns the outcome of a run. `cause`: why it was stopped, if it was; a run that ended first keeps its own end. */
export function outcomeOf(ending: Ending, cause?: StopCause): Outcome {
  const { text, usage } = ending
  const said = { text, usage }
  switch (ending.type) {
    case 'answered':
      if (cause?.type === 'loop' && ending.incomplete) return stopped(cause, said)
      return completed(said, ending)
    case 'aborted':
      return stopped(cause ?? BY_USER, said)
    case 'deleted':
      return stopped(cause && cause.type !== 'loop' ? cause : BY_USER, said)
    case 'failed':
      // An aborted session that stays idle has stopped.
      if (cause && (cause.type === 'loop' || WITHOUT_END.has(ending.failure.reason)))
        return stopped(cause, said)
      return failed(ending.failure.reason, ending.failure.message, said)
  }
}

/** The failures of a session that is idle and shows no end. */
const WITHOUT_END: ReadonlySet<Failure['reason']> = new Set(['timeout', 'interrupted'])

/** Besides this plugin, only a person aborts or deletes a child session. */
const BY_USER: StopCause = { type: 'cancelled', by: 'user' }
