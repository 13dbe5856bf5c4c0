/** The tool that lists the tasks of a session. */
import * as z from 'zod/mini'
import { formatCost, formatDuration, formatTokens } from '../text/format.ts'
import type { BackgroundManager, OthersTask } from '../manager.ts'
import { wordsOf } from '../text/words.ts'
import { nameForModel } from '../text/sanitize.ts'
import { isEnded, usagesOf, usedTogether, type Task, type TaskStatus } from '../task/task.ts'
import { RULE } from './render/command-text.ts'
import { statusNote } from './render/status-note.ts'
import { defineTool, described, processText, type ToolDefinition } from './tool.ts'

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

/** The maximum of ended tasks in a list: each row stays in the model's context. */
const ENDED_ROWS = 50
const OTHERS = 20

export function listBackground(manager: BackgroundManager, now: () => number): ToolDefinition {
  return defineTool(manager, {
    looksOnly: true,
    description: 'List the background tasks that you launched, with their ids and status.',
    args: {
      status: described(z._default(z.enum(['all', 'running', 'done', 'error']), 'all'), 'Only these'),
    },
    async execute({ status }, context) {
      const tasks = manager.list(context.sessionID)
      const shown = tasks.filter((task) => status === 'all' || GROUPS[task.status] === status)
      const count = (group: Group): number => tasks.filter((task) => GROUPS[task.status] === group).length
      const lines = [
        `📋 **Background Tasks** (${tasks.length} total)`,
        RULE,
        `| ⏳ Running: ${count('running')} | ✅ Done: ${count('done')} | ❌ Error/Cancelled: ${count('error')} |`,
        RULE,
      ]
      const spent = manager.used(context.sessionID)
      if (spent.tokens > 0)
        lines.push(`Ended runs: ${formatTokens(spent.tokens)} tokens, ${formatCost(spent.cost)}`)
      const ended = shown.filter(isEnded)
      const listed = [...shown.filter((task) => !isEnded(task)), ...ended.slice(-ENDED_ROWS)]
      if (shown.length > 0) {
        lines.push(
          '',
          '| Task ID | Status | Agent | Task | Duration | Tokens | Cost |',
          '|---------|--------|-------|------|----------|--------|------|',
        )
        lines.push(...listed.map((task) => row(task, statusNote(manager, task), now())))
        lines.push(
          ...(ended.length > ENDED_ROWS
            ? [`${ended.length - ENDED_ROWS} older ended tasks are not listed.`]
            : []),
          '',
          `💡 A notice reports the end of each task. \`${manager.toolNames.background_output}({ task_id: "bg_xxxxx" })\` shows its result.`,
        )
      }
      const others = manager.others(context.sessionID).filter(({ task }) => !isEnded(task))
      lines.push(...others.slice(-OTHERS).map(othersLine))
      const origin = tasks.length === 0 ? await manager.forkedFrom(context.sessionID) : undefined
      if (origin !== undefined)
        lines.push(
          `This session was forked from ${origin}: earlier tasks belong to it, and their notices go there.`,
        )
      lines.push(...manager.problems.map((problem) => `⚠️ ${problem}`))
      return lines.join('\n')
    },
  })
}

function othersLine(others: OthersTask): string {
  const { id, description, status } = others.task
  return `\`${id}\` (${nameForModel(description)}) is run by ${processText(others)}, last recorded as ${status}.`
}

function row(task: Task, note: string | undefined, now: number): string {
  const worker = wordsOf(task).worker(task)
  const usages = usagesOf(task)
  const { tokens, cost } = usedTogether(usages)
  const spent = usages.length === 0 ? ['–', '–'] : [formatTokens(tokens), formatCost(cost)]
  const description = nameForModel(task.description)
  const what = [`\`${task.id}\``, statusOf(task, note), worker, description, durationOf(task, now)]
  const cells = [...what, ...spent]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
}

function statusOf(task: Task, note: string | undefined): string {
  const noted = note === undefined ? '' : `, ${note}`
  switch (task.status) {
    case 'pending':
      return `⏳ pending${noted}`
    case 'starting':
    case 'running':
      return `⏳ running${noted}`
    case 'waiting':
      return `✋ waiting ${note}`
    case 'completed':
      return `✅ done${noted}`
    case 'failed':
      return `❌ error: ${task.failure.reason === 'exit' ? task.failure.message : task.failure.reason}${noted}`
    case 'cancelled':
      return `🛑 cancelled${noted}`
  }
}

function durationOf(task: Task, now: number): string {
  if (task.status === 'pending') return '–'
  if (!isEnded(task)) return `${formatDuration(now - task.startedAt)}...`
  return task.startedAt === undefined ? '–' : formatDuration(task.endedAt - task.startedAt)
}
