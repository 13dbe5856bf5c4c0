/** The outcome of a run by the end of its job. */
import type { Outcome } from '../../task/state.ts'
import { cancelled, completed, failed, stopped, type StopCause } from '../../work/outcome.ts'
import type { Result } from '../payload.ts'
import type { EndedJob } from './fleet-run.ts'
import { resultIn } from './fleet-task.ts'

/** @param cause why the launcher has stopped the run */
export function outcomeOfJob(job: EndedJob, cause: StopCause | undefined): Outcome {
  const { result, problem } = resultIn(job)
  const why = problem ?? job.why ?? 'its worker handed back no result'
  const ended = result
    ? outcomeOf(result, cause)
    : job.isCancelled && cause
      ? stopped(cause)
      : failed('interrupted', why)
  return { ...ended, text: [ended.text, ...unheardText(job)].filter((part) => part !== '').join('\n\n') }
}

/** Says which messages the agent has not read: its end reports them, because nobody else does. */
function unheardText({ unheard = [] }: EndedJob): string[] {
  if (unheard.length === 0) return []
  return [`It ended before it had read this. Send it again if it still matters:\n${unheard.join('\n\n')}`]
}

function outcomeOf({ outcome, text, usage }: Result, cause: StopCause | undefined): Outcome {
  const said = { text, usage }
  switch (outcome.status) {
    case 'completed':
      return completed(said, outcome)
    case 'failed':
      return failed(outcome.failure.reason, outcome.failure.message, said)
    case 'cancelled':
      return cause ? stopped(cause, said) : cancelled('user', said)
  }
}
