/** The tool that kills a command. */
import * as z from 'zod/mini'
import type { BackgroundManager } from '../manager.ts'
import { cancelText } from './background-cancel.ts'
import { defineTool, described, ownTask, type ToolDefinition } from './tool.ts'

export function killBackground(manager: BackgroundManager): ToolDefinition {
  return defineTool(manager, {
    description: 'Kill a background command and its child processes. No notice follows.',
    args: { task_id: described(z.string().check(z.trim()), 'Its id') },
    async execute({ task_id }, context) {
      return cancelText(manager, await ownTask(manager, task_id, context.sessionID))
    },
  })
}
