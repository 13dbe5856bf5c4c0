/** The tool that lists what a session has launched. */
import * as z from 'zod'
import { formatDuration } from '../format.ts'
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task, type TaskStatus } from '../task/task.ts'
import { asksText } from './asks.ts'
import { defineTool, type ToolDefinition } from './tool.ts'

type Group = 'running' | 'done' | 'error'

const GROUPS: Readonly<Record<TaskStatus, Group>> = {
  pending: 'running',
  starting: 'running',
  running: 'running',
  waiting: 'running',
  completed: 'done',
  failed: 'error',
  cancelled: 'error',
}

const RULE = '━'.repeat(59)

export function listBackground(manager: BackgroundManager, now: () => number): ToolDefinition {
  return defineTool(manager, {
    description: 'List the background tasks that you launched, with their ids and status.',
    args: {
      status: z.enum(['all', 'running', 'done', 'error']).default('all').describe('Only tasks in this state'),
    },
    execute({ status }, context) {
      const tasks = manager.list(context.sessionID)
      const shown = tasks.filter((task) => status === 'all' || GROUPS[task.status] === status)
      const count = (group: Group): number => tasks.filter((task) => GROUPS[task.status] === group).length
      const lines = [
        `📋 **Background Tasks** (${tasks.length} total)`,
        RULE,
        `| ⏳ Running: ${count('running')} | ✅ Done: ${count('done')} | ❌ Error/Cancelled: ${count('error')} |`,
        RULE,
      ]
      if (shown.length > 0) {
        lines.push(
          '',
          '| Task ID | Status | Agent | Task | Duration |',
          '|---------|--------|-------|------|----------|',
        )
        lines.push(...shown.map((task) => row(task, noteOn(manager, task, now()), now())))
        lines.push(
          '',
          '💡 A notice comes when a task ends. `background_output({ task_id: "bg_xxxxx" })` shows its result.',
        )
      }
      lines.push(...manager.problems.map((problem) => `⚠️ option ${problem}`))
      return Promise.resolve(lines.join('\n'))
    },
  })
}

/** What a pending task waits for, and for how long one at work was silent. */
function noteOn(manager: BackgroundManager, task: Task, now: number): string {
  const stalledMs = manager.stalledFor(task.id)
  if (stalledMs !== undefined) return `silent for ${formatDuration(stalledMs)}`
  if (task.status !== 'pending') return ''
  const until = manager.heldUntil(task.id)
  if (until !== undefined) return `provider retrying, for ${formatDuration(until - now)}`
  return `number ${(manager.placeInQueue(task.id) ?? 0) + 1} in the queue`
}

function row(task: Task, note: string, now: number): string {
  const cells = [`\`${task.id}\``, statusOf(task, note), task.agent, task.description, durationOf(task, now)]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
}

function statusOf(task: Task, note: string): string {
  switch (task.status) {
    case 'pending':
      return `⏳ pending, ${note}`
    case 'starting':
    case 'running':
      return note === '' ? '⏳ running' : `⏳ running, ${note}`
    case 'waiting':
      return `✋ waiting for a permission: ${asksText(task.asks)}`
    case 'completed':
      return '✅ done'
    case 'failed':
      return `❌ error: ${task.failure.reason}`
    case 'cancelled':
      return '🛑 cancelled'
  }
}

function durationOf(task: Task, now: number): string {
  if (task.status === 'pending') return '–'
  if (!isEnded(task)) return `${formatDuration(now - task.startedAt)}...`
  return task.startedAt === undefined ? '–' : formatDuration(task.endedAt - task.startedAt)
}
