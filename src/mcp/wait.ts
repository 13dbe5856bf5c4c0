/** Makes the tools that read a task wait for its end first, and reports the progress of the wait to the client. */
import * as z from 'zod/mini'
import { formatDuration } from '../text/format.ts'
import { isEnded, type Task } from '../task/task.ts'
import { described, MILLISECONDS, ownTask, type Tool, type ToolShape } from '../tools/tool.ts'
import type { McpCaller, Workplace } from './workplace.ts'

const WAIT = {
  wait: described(
    z.optional(z.boolean()),
    'Wait until it ends, a text of notify_on appears, or timeout passes',
  ),
  timeout: described(z._default(MILLISECONDS, 120_000), 'Of wait, in ms'),
}
/** Clients give up on a call that takes longer. */
const LONGEST_WAIT_MS = 600_000
const PROGRESS_MS = 5000

/**
 * Returns a tool that reads a task, after waiting for its end if the argument `flag` is true.
 *
 * @param flag the name of the argument
 */
export function waiting<Shape extends ToolShape & { task_id: z.ZodMiniString }, Data>(
  flag: 'wait' | 'block',
  make: (workplace: Workplace) => Tool<Shape, Data>,
): (workplace: Workplace) => Tool<Shape & typeof WAIT, Data> {
  return (workplace) => {
    const tool = make(workplace)
    /** Ids of unfinished tasks whose match of `notify_on` a wait has already returned, so that the next wait is for the end. */
    const matched = new Set<string>()
    return {
      ...tool,
      args: flag === 'wait' ? { ...tool.args, ...WAIT } : (tool.args as Shape & typeof WAIT),
      async call(args, caller) {
        const given = args as { readonly task_id: string; readonly timeout: number } & {
          readonly [Flag in typeof flag]?: boolean
        }
        if (given[flag] && given.timeout > 0) {
          const { id } = await ownTask(workplace.manager, given.task_id, caller.sessionID)
          const timeoutMs = Math.min(given.timeout, LONGEST_WAIT_MS)
          await waitForEndOrMatch(
            workplace,
            id,
            { timeoutMs, isForEnd: matched.has(id) },
            caller as McpCaller,
          )
          if (hasMatched(workplace.manager.get(id))) matched.add(id)
          else matched.delete(id)
        }
        return tool.call({ ...args, block: false } as never, caller)
      },
    }
  }
}

/** Whether the output of an unfinished task contains a text of `notify_on`. */
function hasMatched(task: Task | undefined): boolean {
  return task !== undefined && !isEnded(task) && 'matched' in task
}

interface Wait {
  readonly timeoutMs: number
  /** Whether the wait continues after a match of `notify_on`. */
  readonly isForEnd: boolean
}

/** Waits for the end of a task, or until a text of `notify_on` appears in its output. */
async function waitForEndOrMatch(
  { manager, monotonic }: Workplace,
  taskID: string,
  { timeoutMs, isForEnd }: Wait,
  { abort, progress }: McpCaller,
): Promise<void> {
  const matched = new AbortController()
  const stopListening = manager.on((step, { id }) => {
    if (id !== taskID || step.type !== 'transition') return
    if (step.event === 'outputMatched' || step.event === 'monitored') matched.abort()
  })
  // Reads the monotonic clock, because progress may not decrease, and the system clock can be set back.
  const since = monotonic()
  const timer = setInterval(() => {
    const waitedMs = Math.round(monotonic() - since)
    const status = manager.get(taskID)?.status ?? 'unknown'
    progress(waitedMs, timeoutMs, `${taskID} is ${status}, ${formatDuration(waitedMs)}`)
  }, PROGRESS_MS)
  try {
    if (manager.readMatches(taskID) || (!isForEnd && hasMatched(manager.get(taskID)))) return
    await manager.waitForCompletion(taskID, { timeoutMs, signal: AbortSignal.any([abort, matched.signal]) })
    manager.readMatches(taskID)
  } finally {
    clearInterval(timer)
    stopListening()
  }
}
