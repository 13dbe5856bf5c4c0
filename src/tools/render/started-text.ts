/** Renders the answer of a tool that has started or continued a task. Pure. */
import { formatDuration } from '../../text/format.ts'
import { nameForModel } from '../../text/sanitize.ts'
import { useText, type BudgetUse } from '../../task/budget-use.ts'
import type { CommandTask, Task } from '../../task/task.ts'
import type { Guidance } from '../notice-guidance.ts'
import type { ToolPorts, ToolResult } from '../tool-ports.ts'
import { codeSpan, RULE } from './command-text.ts'
import { commandStatusText } from './task-status.ts'

/** The command that a call has started. */
export interface StartedCommand {
  readonly task: CommandTask
  readonly note: string | undefined
  /** As given; the description of the task has a default. */
  readonly label: string | undefined
}

/** The task that a call has started or continued. */
export interface StartedTask {
  readonly task: Task
  readonly note: string | undefined
  /** The task as it was before it was continued. */
  readonly before: Task | undefined
  /** Its budget, and what is used of it. */
  readonly budget: BudgetUse | undefined
  /** Its model, if the cost of that cannot be counted although it is limited. */
  readonly unpriced: string | undefined
}

export function startedCommandText({ task, note, label }: StartedCommand, guidance: Guidance): ToolResult {
  const { id: taskID, sessionID, status, shell } = task
  const lines = [
    `🚀 **Background Task Started**${label === undefined ? '' : ` (${nameForModel(label)})`}`,
    RULE,
    '| Property | Value |',
    '|----------|-------|',
    `| **Task ID** | \`${taskID}\` |`,
    `| **Command** | ${codeSpan(task.command)} |`,
    `| **Status** | ${commandStatusText(task, note)} |`,
    `| **Working Dir** | ${codeSpan(task.cwd)} |`,
    ...(shell === undefined ? [] : [`| **Shell** | ${codeSpan(shell)} |`]),
    ...(task.timeoutIsDefault
      ? [
          `| **Timeout** | ${formatDuration(task.timeoutMs)} by default; a command that proves to be a server keeps running |`,
        ]
      : []),
    ...(task.notifyEvery
      ? [`| **Monitor** | notices report each line that matches ${task.notifyOn.map(codeSpan).join(' ')} |`]
      : []),
    RULE,
    '',
    `📌 **Next Step**: ${guidance.afterStart(taskID)}`,
  ]
  return { title: task.description, output: lines.join('\n'), metadata: { taskID, sessionID, status } }
}

export function startedTaskText(
  { task, note, before, budget, unpriced }: StartedTask,
  { traitsOf }: Pick<ToolPorts, 'traitsOf'>,
): ToolResult {
  const { id, sessionID, description, run } = task
  // Without a note nothing delays the start.
  const status = note === undefined ? 'running' : task.status
  const lines = [
    `task_id: ${id}`,
    `status: ${status}${note === undefined ? '' : ` (${note})`}`,
    ...traitsOf(task).lines(task),
    `description: ${nameForModel(description)}`,
    ...(budget ? [`budget: ${useText(budget)}`] : []),
    ...(unpriced === undefined
      ? []
      : [
          `⚠️ OpenCode knows no prices of ${unpriced}: its cost cannot be limited. Limits of tokens, toolCalls and minutes hold.`,
        ]),
  ]
  if (before && run > before.run) lines.push(`run: ${run}, in the same session, with its context`)
  else if (before?.status === 'pending') lines.push('The prompt was added to its pending prompt.')
  else if (before) lines.push('It reads the prompt at its next step.')
  return { title: description, output: lines.join('\n'), metadata: { taskID: id, sessionID, status } }
}
