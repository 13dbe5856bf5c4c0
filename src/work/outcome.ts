/** Makes each kind of end, in one place. Pure. */
import { formatLimit } from '../text/format.ts'
import { wordsOf } from '../text/words.ts'
import {
  NO_USAGE,
  type Exit,
  type Failure,
  type Incomplete,
  type Outcome,
  type Task,
  type Usage,
} from '../task/task.ts'

/** Who wants work to stop: the session that launched it, or a person. */
export type Canceller = 'parent' | 'user'

/** Why work is stopped before its own end. The first cause of a run stands, whatever comes after it. */
export type StopCause =
  | { readonly type: 'cancelled'; readonly by: Canceller }
  | { readonly type: 'timeout'; readonly message: string }
  /** A model that answers again and again without getting anywhere. */
  | { readonly type: 'loop'; readonly answers: number }
  | { readonly type: 'output'; readonly limitBytes: number }

/** The part of an outcome that is read from the work itself. */
export interface Said {
  readonly text: string
  readonly usage?: Usage
  readonly exit?: Exit
}

const NOTHING: Said = { text: '' }

export function completed(said: Said, incomplete?: Incomplete): Outcome {
  return { status: 'completed', ...withUsage(said), ...(incomplete && { incomplete }) }
}

export function failed(reason: Failure['reason'], message: string, said = NOTHING): Outcome {
  return { status: 'failed', failure: { reason, message }, ...withUsage(said) }
}

export function cancelled(by: Canceller, said = NOTHING): Outcome {
  return { status: 'cancelled', by, ...withUsage(said) }
}

/** OpenCode ended before the work did. */
export function interrupted(task: Task, hasStarted: boolean, said = NOTHING): Outcome {
  const message = `OpenCode stopped before the ${wordsOf(task).noun} had ${hasStarted ? 'ended' : 'started'}`
  return failed('interrupted', message, said)
}

/** The end of work that was stopped for this cause. */
export function stopped(cause: StopCause, said = NOTHING): Outcome {
  switch (cause.type) {
    case 'cancelled':
      return cancelled(cause.by, said)
    case 'timeout':
      return failed('timeout', cause.message, said)
    case 'loop':
      return failed(
        'empty',
        `stopped: its model answered ${cause.answers} times in a row without an end or a tool call, as when its provider sends something else`,
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

/** The cause of a stop at the end of a time limit of so many milliseconds. */
export function timeLimit(limitMs: number, task: Task): StopCause {
  return { type: 'timeout', message: formatLimit(limitMs, task) }
}

function withUsage({ usage = NO_USAGE, ...said }: Said): Said & { readonly usage: Usage } {
  return { ...said, usage }
}
