/** Renders the list of a session's tasks. Pure. */
import { formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import type { OthersTask } from '../../manager.ts'
import { monitorText } from '../../text/monitor-text.ts'
import { nameForModel } from '../../text/sanitize.ts'
import type { Group } from '../../task/status.ts'
import { shareText, useText, type BudgetUse } from '../../task/budget-use.ts'
import { usedTogether, type Usage } from '../../task/state.ts'
import { isEnded, usagesOf, type Task } from '../../task/task.ts'
import type { ToolPorts } from '../tool-ports.ts'
import { RULE } from './command-text.ts'
import { processText } from './process-text.ts'
import { taskStatusText } from './task-status.ts'

/** The maximum of ended tasks in a list: each row stays in the model's context. */
const ENDED_ROWS = 50
const OTHERS = 20

/** The data of `list_background`. */
export interface TaskList {
  /** How many tasks there are of each group. */
  readonly counts: Readonly<Record<Group, number>>
  /** The tasks to show. */
  readonly shown: readonly NotedTask[]
  /** When they were listed, in milliseconds since the Unix epoch. */
  readonly at: number
  /** The total usage of the ended runs of agents. */
  readonly used: Usage
  /** The budget of the session, and what its tasks have used of it. */
  readonly budget?: BudgetUse | undefined
  /** Unfinished tasks that another living process runs. */
  readonly others: readonly OthersTask[]
  /** The session that this one was forked from, if it has launched nothing itself. */
  readonly origin: string | undefined
  readonly problems: readonly string[]
}

export interface NotedTask {
  readonly task: Task
  readonly note: string | undefined
  /** Its budget, and what is used of it. */
  readonly budget?: BudgetUse | undefined
}

export function listText(
  { counts, shown, at, used, budget, others, origin, problems }: TaskList,
  { guidance, traitsOf }: Pick<ToolPorts, 'guidance' | 'traitsOf'>,
): string {
  const { running, done, error } = counts
  const lines = [
    `📋 **Background Tasks** (${running + done + error} total)`,
    RULE,
    `| ⏳ Running: ${running} | ✅ Done: ${done} | ❌ Error/Cancelled: ${error} |`,
    RULE,
  ]
  if (used.tokens > 0) lines.push(`Ended runs: ${formatTokens(used.tokens)} tokens, ${formatCost(used.cost)}`)
  if (budget) lines.push(`Budget of the session: ${useText(budget)}`)
  const { listed, olderCount } = rowsOf(shown)
  if (shown.length > 0) {
    lines.push(
      '',
      '| Task ID | Status | Agent | Task | Duration | Tokens | Cost |',
      '|---------|--------|-------|------|----------|--------|------|',
    )
    lines.push(
      ...listed.map((each) => row(each, monitorText(each.task) ?? traitsOf(each.task).worker(each.task), at)),
    )
    if (olderCount > 0) lines.push(`${olderCount} older ended tasks are not listed.`)
    lines.push('', `💡 ${guidance.afterList}`)
  }
  lines.push(...others.slice(-OTHERS).map(othersLine))
  if (origin !== undefined)
    lines.push(
      `This session was forked from ${origin}: earlier tasks belong to it, and their notices go there.`,
    )
  return [...lines, ...problems.map((problem) => `⚠️ ${problem}`)].join('\n')
}

/** Returns the tasks that an answer has room for: the unfinished ones first, and the newest that have ended. */
export function rowsOf(shown: TaskList['shown']): {
  readonly listed: TaskList['shown']
  readonly olderCount: number
} {
  const ended = shown.filter(({ task }) => isEnded(task))
  const listed = [...shown.filter(({ task }) => !isEnded(task)), ...ended.slice(-ENDED_ROWS)]
  return { listed, olderCount: shown.length - listed.length }
}

function othersLine(others: OthersTask): string {
  const { id, description, status } = others.task
  return `\`${id}\` (${nameForModel(description)}) is run by ${processText(others)}, last recorded as ${status}.`
}

function row({ task, note, budget }: NotedTask, worker: string, now: number): string {
  const usages = usagesOf(task)
  const { tokens, cost } = usedTogether(usages)
  const spent = usages.length === 0 ? ['–', '–'] : [formatTokens(tokens), formatCost(cost)]
  const description = nameForModel(task.description) + branchOf(task)
  const status = [taskStatusText(task, note), ...(budget ? [shareText(budget)] : [])].join(', ')
  const what = [`\`${task.id}\``, status, worker, description, durationOf(task, now)]
  const cells = [...what, ...spent]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
}

/** Returns the branch of a task in a worktree, unless that has gone unchanged. */
function branchOf(task: Task): string {
  const { worktree, changes } = { worktree: undefined, changes: undefined, ...task }
  if (!worktree || changes?.type === 'none' || changes?.type === 'removed') return ''
  const files = changes?.type === 'committed' ? `: ${changes.files} changed files` : ''
  return ` (${worktree.branch}${files})`
}

function durationOf(task: Task, now: number): string {
  if (task.status === 'pending') return '–'
  if (!isEnded(task)) return `${formatDuration(now - task.startedAt)}...`
  return task.startedAt === undefined ? '–' : formatDuration(task.endedAt - task.startedAt)
}
