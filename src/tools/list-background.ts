/** The tool that lists the tasks of a session. */
import * as z from 'zod/mini'
import { formatCost, formatDuration, formatTokens } from '../text/format.ts'
import type { OthersTask } from '../manager.ts'
import { traitsOf } from '../work/kinds.ts'
import { nameForModel } from '../text/sanitize.ts'
import { isEnded, usagesOf, usedTogether, type Task, type TaskStatus, type Usage } from '../task/task.ts'
import { RULE } from './render/command-text.ts'
import { statusNote } from './render/status-note.ts'
import type { Telling } from './telling.ts'
import { described, processText, type Tool, type ToolPorts } from './tool.ts'

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

const ARGS = {
  status: described(z._default(z.enum(['all', 'running', 'done', 'error']), 'all'), 'Only these'),
}

/** The tasks of a session, and what concerns them. */
export interface TaskList {
  readonly tasks: readonly Task[]
  /** The tasks to show. */
  readonly shown: readonly NotedTask[]
  /** When they were listed, in milliseconds since the Unix epoch. */
  readonly at: number
  /** The total usage of the ended runs of agents. */
  readonly used: Usage
  /** Unfinished tasks that another living process runs. */
  readonly others: readonly OthersTask[]
  /** The session that this one was forked from, if it has launched nothing itself. */
  readonly origin: string | undefined
  readonly problems: readonly string[]
}

interface NotedTask {
  readonly task: Task
  readonly note: string | undefined
}

export function listBackground({ manager, now, telling }: ToolPorts): Tool<typeof ARGS, TaskList> {
  return {
    name: 'list_background',
    description: 'List the background tasks that you launched, with their ids and status.',
    args: ARGS,
    effect: 'reads',
    async call({ status }, { sessionID }) {
      const tasks = manager.list(sessionID)
      return {
        tasks,
        shown: tasks
          .filter((task) => status === 'all' || GROUPS[task.status] === status)
          .map((task) => ({ task, note: statusNote(manager, task) })),
        at: now(),
        used: manager.used(sessionID),
        others: manager.others(sessionID).filter(({ task }) => !isEnded(task)),
        origin: tasks.length === 0 ? await manager.forkedFrom(sessionID) : undefined,
        problems: manager.problems,
      }
    },
    render: (list) => listText(list, telling),
  }
}

function listText({ tasks, shown, at, used, others, origin, problems }: TaskList, telling: Telling): string {
  const count = (group: Group): number => tasks.filter((task) => GROUPS[task.status] === group).length
  const lines = [
    `📋 **Background Tasks** (${tasks.length} total)`,
    RULE,
    `| ⏳ Running: ${count('running')} | ✅ Done: ${count('done')} | ❌ Error/Cancelled: ${count('error')} |`,
    RULE,
  ]
  if (used.tokens > 0) lines.push(`Ended runs: ${formatTokens(used.tokens)} tokens, ${formatCost(used.cost)}`)
  const ended = shown.filter(({ task }) => isEnded(task))
  const listed = [...shown.filter(({ task }) => !isEnded(task)), ...ended.slice(-ENDED_ROWS)]
  if (shown.length > 0) {
    lines.push(
      '',
      '| Task ID | Status | Agent | Task | Duration | Tokens | Cost |',
      '|---------|--------|-------|------|----------|--------|------|',
    )
    lines.push(...listed.map(({ task, note }) => row(task, note, at)))
    if (ended.length > ENDED_ROWS)
      lines.push(`${ended.length - ENDED_ROWS} older ended tasks are not listed.`)
    lines.push('', `💡 ${telling.afterList}`)
  }
  lines.push(...others.slice(-OTHERS).map(othersLine))
  if (origin !== undefined)
    lines.push(
      `This session was forked from ${origin}: earlier tasks belong to it, and their notices go there.`,
    )
  return [...lines, ...problems.map((problem) => `⚠️ ${problem}`)].join('\n')
}

function othersLine(others: OthersTask): string {
  const { id, description, status } = others.task
  return `\`${id}\` (${nameForModel(description)}) is run by ${processText(others)}, last recorded as ${status}.`
}

function row(task: Task, note: string | undefined, now: number): string {
  const worker = traitsOf(task).worker(task)
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
