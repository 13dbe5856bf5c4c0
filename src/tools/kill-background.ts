/** The tool that ends a command. */
import * as z from 'zod'
import type { BackgroundManager } from '../manager.ts'
import { cancelText } from './background-cancel.ts'
import { defineTool, ownTask, type ToolDefinition } from './tool.ts'

export function killBackground(manager: BackgroundManager): ToolDefinition {
  return defineTool(manager, {
    description: 'End a background command, with all that it has started. No notice follows.',
    args: { task_id: z.string().trim().describe('Its id') },
    execute: ({ task_id }, context) => cancelText(manager, ownTask(manager, task_id, context.sessionID)),
  })
}
