/** The tool that stops tasks. */
import * as z from 'zod/mini'
import { formatDuration } from '../text/format.ts'
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task } from '../task/task.ts'
import { nameForModel } from '../text/sanitize.ts'
import { ToolError } from '../tool-error.ts'
import { codeSpan } from './render/command-text.ts'
import { defineTool, described, ownTask, type ToolDefinition } from './tool.ts'

export function backgroundCancel(manager: BackgroundManager): ToolDefinition {
  return defineTool(manager, {
    description:
      'Stop a background task, or with all: true every unfinished one of yours. Its work so far stays readable with ' +
      `${manager.toolNames.background_output}. No notice follows.`,
    args: {
      task_id: described(z.optional(z.string().check(z.trim())), 'Its id'),
      all: described(z.optional(z.boolean()), 'All unfinished'),
    },
    async execute({ task_id: given, all: flag }, context) {
      const isAll = given?.toLowerCase() === 'all'
      const task_id = isAll ? undefined : given
      const all = flag ?? isAll
      if (task_id !== undefined && all) throw new ToolError('Give either task_id or all: true, not both.')
      if (task_id !== undefined) {
        return cancelText(manager, await ownTask(manager, task_id, context.sessionID))
      }
      if (!all) throw new ToolError('Give task_id, or all: true.')
      const unfinished = manager.list(context.sessionID).filter((task) => !isEnded(task))
      await manager.cancelAll(context.sessionID)
      const ended = manager.list(context.sessionID).filter(({ id }) => manager.hasLeftovers(id))
      const leftovers = await Promise.all(ended.map((task) => cancelText(manager, task)))
      const tasks = unfinished.flatMap(({ id }) => manager.get(id) ?? [])
      const lines = [...tasks.map((task) => describe(manager, task, false)), ...leftovers]
      return lines.length === 0 ? 'There was nothing to stop.' : lines.join('\n')
    },
  })
}

/** Cancels a task, and returns the result as text. */
export async function cancelText(manager: BackgroundManager, task: Task): Promise<string> {
  if (isEnded(task)) {
    const had = await manager.killLeftovers(task.id)
    const killed = manager.hasLeftovers(task.id)
      ? "Its leftover processes cannot be killed: they may be another user's."
      : 'Its leftover processes were killed.'
    const did = had ? killed : 'Nothing was changed.'
    return `${task.id} had ended already (${task.status}). ${did}`
  }
  return describe(manager, await manager.cancel(task.id), true)
}

/** @param isAlone whether the answer is about this task alone, with room for details */
function describe(manager: BackgroundManager, task: Task, isAlone: boolean): string {
  if (task.status !== 'cancelled') {
    return `${task.id} (${nameForModel(task.description)}) ended before it could be stopped: ${task.status}. Its notice follows.`
  }
  const after =
    task.startedAt === undefined
      ? 'before it had started'
      : `after ${formatDuration(task.endedAt - task.startedAt)}`
  const hasLeftovers = manager.hasLeftovers(task.id)
  if (task.kind === 'agent' || (!isAlone && !hasLeftovers))
    return `${task.id} (${nameForModel(task.description)}) was cancelled ${after}.`
  const killed = hasLeftovers
    ? `⚠️ Task \`${task.id}\` was signalled, but one of its processes cannot be killed: it may be another user's.`
    : `🛑 Task \`${task.id}\` has been killed.`
  const lines = [killed, `Command: ${codeSpan(task.command)}`]
  if (task.startedAt === undefined) return [...lines, 'It had not started.'].join('\n')
  return [...lines, `Duration before kill: ${formatDuration(task.endedAt - task.startedAt)}`].join('\n')
}
