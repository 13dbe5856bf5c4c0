/** Creates every outcome, in one place. Pure. */
import { formatDuration } from '../text/format.ts'
import { traitsOf } from './kinds.ts'
import { NO_USAGE, type Answered, type Exit, type Failure, type Outcome, type Usage } from '../task/state.ts'
import type { Task } from '../task/task.ts'

/** The canceller of work: the session that launched it, or a person. */
export type Canceller = 'parent' | 'user'

/** The reason to stop work before its own end. The first cause of a run wins over later ones. */
export type StopCause =
  | { readonly type: 'cancelled'; readonly by: Canceller }
  | { readonly type: 'timeout' | 'budget'; readonly message: string }
  /** A model answers repeatedly without an end or a tool call. */
  | { readonly type: 'loop'; readonly answers: number }
  | { readonly type: 'output'; readonly limitBytes: number }

/** The part of an outcome that the work itself produced. */
export interface Said {
  readonly text: string
  readonly usage?: Usage
  readonly exit?: Exit
}

const NOTHING: Said = { text: '' }

export function completed(said: Said, { incomplete, question }: Answered = {}): Outcome {
  return {
    status: 'completed',
    ...withUsage(said),
    ...(incomplete && { incomplete }),
    ...(question !== undefined && { question }),
  }
}

export function failed(reason: Failure['reason'], message: string, said = NOTHING): Outcome {
  return { status: 'failed', failure: { reason, message }, ...withUsage(said) }
}

export function cancelled(by: Canceller, said = NOTHING): Outcome {
  return { status: 'cancelled', by, ...withUsage(said) }
}

/** Returns the outcome of work that was cut off because its host stopped. */
export function interrupted(task: Task, hasStarted: boolean, said = NOTHING): Outcome {
  const { reason, message } = interruption(task, hasStarted)
  return failed(reason, message, said)
}

/** Returns the failure of work that was cut off because its host stopped. */
export function interruption(task: Task, hasStarted: boolean): Failure {
  const { host, noun } = traitsOf(task)
  const message = `${host} stopped before the ${noun} had ${hasStarted ? 'ended' : 'started'}`
  return { reason: 'interrupted', message }
}

/** Returns the outcome of work that was stopped for this cause. */
export function stopped(cause: StopCause, said = NOTHING): Outcome {
  switch (cause.type) {
    case 'cancelled':
      return cancelled(cause.by, said)
    case 'timeout':
    case 'budget':
      return failed(cause.type, cause.message, said)
    case 'loop':
      return failed(
        'empty',
        `stopped: its model answered ${cause.answers} times in a row without an end or a tool call; its provider may send malformed answers`,
        said,
      )
    case 'output':
      return failed(
        'output',
        `killed after more than ${cause.limitBytes} bytes of output, which is its limit`,
        said,
      )
  }
}

/** Returns the stop cause of a time limit in milliseconds. */
export function timeLimit(limitMs: number, task: Task): StopCause {
  const message = `stopped after ${formatDuration(limitMs)}, which is ${traitsOf(task).limit(task)}`
  return { type: 'timeout', message }
}

function withUsage({ usage = NO_USAGE, ...said }: Said): Said & { readonly usage: Usage } {
  return { ...said, usage }
}
