/** What the messages of a child prove about the end of its run. Pure: the detector decides when to ask. */
import { errorText, type StoredMessage } from '../opencode.ts'
import type { Failure, Usage } from '../task/task.ts'
import { readTranscript } from './transcript.ts'

/**
 * How a child's run ended. `aborted`: somebody stopped it; who that was, the runner knows. `unfinished`: its last
 * message was closed without a finish and without an error. In an idle session that is an abort during the provider's
 * back-off (contract 6.4), in a busy one the context was full, and a summary comes next.
 */
export type Ending = { readonly text: string; readonly usage: Usage } & (
  | { readonly type: 'answered' }
  | { readonly type: 'aborted' }
  | { readonly type: 'unfinished' }
  | { readonly type: 'deleted' }
  | { readonly type: 'failed'; readonly failure: Failure }
)

/**
 * The ending that the messages show, or `undefined` while they show none.
 *
 * @param error what a `session.error` said; decisive only where no message can carry it (contract 1.12, 1.13)
 */
export function judge(
  messages: readonly StoredMessage[],
  promptID: string,
  error?: string,
): Ending | undefined {
  const { begun, asked, answer, text, usage } = readTranscript(messages, promptID)
  const said = { text, usage }
  if (!begun) {
    return error === undefined
      ? undefined
      : { ...said, type: 'failed', failure: { reason: 'error', message: error } }
  }
  // Until it is completed an error can still be written into it: 16 to 300 ms after the first idle (contract 1.5).
  if (answer?.info.time.completed === undefined) return undefined
  const { info, parts } = answer
  if (info.error?.name === 'MessageAbortedError') return { ...said, type: 'aborted' }
  if (info.error) {
    return { ...said, type: 'failed', failure: { reason: 'error', message: errorText(info.error) } }
  }
  // The context was full and has been summarised: the message that continues the run comes next.
  if (asked === 'summary') return undefined
  if (info.finish === undefined) return { ...said, type: 'unfinished' }
  // A message that holds a tool call never ends the loop, whatever its finish says (contract 1.3b).
  if (
    info.finish === 'tool-calls' ||
    info.finish === 'unknown' ||
    parts.some((part) => part.type === 'tool')
  ) {
    return undefined
  }
  if (text === '' && usage.toolCalls === 0) {
    const message = 'the agent ended without a word and without using a tool'
    return { ...said, type: 'failed', failure: { reason: 'empty', message } }
  }
  return { ...said, type: 'answered' }
}
