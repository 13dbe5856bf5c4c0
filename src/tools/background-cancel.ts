/** The tool that stops tasks. */
import * as z from 'zod'
import { formatDuration } from '../format.ts'
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task } from '../task/task.ts'
import { ToolError } from '../tool-error.ts'
import { defineTool, ownTask, type ToolDefinition } from './tool.ts'

export function backgroundCancel(manager: BackgroundManager): ToolDefinition {
  return defineTool(manager, {
    description:
      'Stop a background task, or with all: true every unfinished task that you launched. What it did until then ' +
      'stays readable with background_output. No notice follows.',
    args: {
      task_id: z.string().trim().optional().describe('The id that background_task returned'),
      all: z.boolean().optional().describe('Stop all your unfinished tasks'),
    },
    async execute({ task_id, all }, context) {
      if (task_id !== undefined && all) throw new ToolError('Give either task_id or all: true, not both.')
      if (task_id !== undefined) {
        const { id } = ownTask(manager, task_id, context.sessionID)
        const before = manager.get(id)
        if (before && isEnded(before))
          return `${id} had ended already (${before.status}). Nothing was changed.`
        const task = await manager.cancel(id)
        return task ? describe(task) : `${id} is unknown.`
      }
      if (!all) throw new ToolError('Say what to stop: task_id, or all: true.')
      const unfinished = manager.list(context.sessionID).filter((task) => !isEnded(task))
      await manager.cancelAll(context.sessionID)
      const tasks = unfinished.flatMap(({ id }) => manager.get(id) ?? [])
      return tasks.length === 0 ? 'There was nothing to stop.' : tasks.map(describe).join('\n')
    },
  })
}

function describe(task: Task): string {
  if (task.status !== 'cancelled') {
    return `${task.id} (${task.description}) ended before it could be stopped: ${task.status}. Its notice follows.`
  }
  const after =
    task.startedAt === undefined
      ? 'before it had started'
      : `after ${formatDuration(task.endedAt - task.startedAt)}`
  return `${task.id} (${task.description}) was cancelled ${after}.`
}
