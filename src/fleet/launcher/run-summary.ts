/** The summary of a run as its launcher has it: the conversation stays at the worker. */
import { NO_USAGE, type Usage } from '../../task/state.ts'
import type { RunSummary } from '../../work/agent/transcript.ts'
import { readReport, type Report } from '../payload.ts'
import type { FleetRun } from './fleet-run.ts'

export function summaryOfRun(run: FleetRun | undefined, now: number): RunSummary {
  const { state, silentMs } = { state: run?.state, silentMs: run?.silentMs ?? 0 }
  if (state?.type !== 'claimed') {
    const note = state?.type === 'waiting' && state.note !== undefined ? `: ${state.note}` : ''
    return summary('', NO_USAGE, {
      what: `waits for a worker of the fleet${note}`,
      at: now - silentMs,
    })
  }
  const { activity, usage = NO_USAGE } = readReport(state.report) ?? ({} as Partial<Report>)
  const doing = activity ?? (state.isPrompted ? 'prompted' : 'starting')
  const at = now - silentMs - state.silentMs
  return summary('', usage, { what: `at worker ${state.worker}, ${doing}`, at })
}

export function summary(text: string, usage: Usage, activity: RunSummary['activity']): RunSummary {
  return { text, usage, activity, goesOn: false }
}
