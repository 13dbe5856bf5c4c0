/** The tool that writes the changes of an agent's worktree into the checkout of its parent. */
import * as z from 'zod/mini'
import type { AppliedTask } from '../text/applied-text.ts'
import { described, ownTask, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

/** How many paths an answer names. */
const NAMED = 100

const ARGS = {
  task_id: described(z.string().check(z.trim()), 'Its id'),
  check: described(z.optional(z.boolean()), 'Report conflicts only'),
}

export function backgroundApply({ manager }: ToolPorts): Tool<typeof ARGS, AppliedTask> {
  return {
    name: 'background_apply',
    description: "Write an ended task's worktree changes into your files; nothing on a conflict.",
    args: ARGS,
    effect: 'ends',
    async call({ task_id, check = false }, caller) {
      const task = await ownTask(manager, task_id, caller.sessionID)
      const forecast = await manager.apply(task.id, { check: true })
      if (check || forecast.type !== 'clean') return { task, applied: forecast }
      const { paths } = forecast
      const metadata = { filepath: paths.join(', '), taskID: task.id }
      await caller.ask({ permission: 'edit', patterns: [...paths], always: ['*'], metadata })
      return { task, applied: await manager.apply(task.id) }
    },
    render: (answer, { appliedText }) => appliedText(answer, NAMED),
  }
}
