/** Makes the lines of the sidebar, the badge and the entries of the dialog. Pure. */
import { shareText, spentOf } from '../task/budget-use.ts'
import { NO_USAGE } from '../task/state.ts'
import { isEnded, questionOf, type Task } from '../task/task.ts'
import { oneLine } from '../text/sanitize.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { traitsOf } from '../work/kinds.ts'
import { monitorText } from '../text/monitor-text.ts'
import { counted, formatAsked, formatCost, formatDuration, formatTokens } from '../text/format.ts'
import type { EndedTask } from '../task/task.ts'
import { truncate, widthOf } from './truncate.ts'
import { isUnfinished, treeOf, type Phase, type TaskView } from './task-view.ts'

/** The name of a colour in the theme. */
export type Tone = 'text' | 'textMuted' | 'success' | 'warning' | 'error' | 'info'

/**
 * How each phase is shown. The order puts tasks that need the user first. Signs are one cell wide; without them, colour would be
 * the only difference.
 */
const PHASES: Readonly<
  Record<Phase, { readonly sign: string; readonly tone: Tone; readonly title: string }>
> = {
  waiting: { sign: '?', tone: 'warning', title: 'Waiting for you' },
  running: { sign: '●', tone: 'info', title: 'Running' },
  pending: { sign: '○', tone: 'textMuted', title: 'Pending' },
  failed: { sign: '✗', tone: 'error', title: 'Failed' },
  completed: { sign: '✓', tone: 'success', title: 'Completed' },
  cancelled: { sign: '–', tone: 'textMuted', title: 'Cancelled' },
}

const ORDER = Object.keys(PHASES)

/** The maximum number of tasks in the sidebar, and of ended ones among them. */
const SHOWN = 10
const SHOWN_ENDED = 3

/** The width of the section's title on the first line. */
const TITLE = 'Background '.length

export interface Row {
  readonly taskID: string
  readonly sessionID: string
  readonly sign: string
  readonly tone: Tone
  /** The worker and the description. */
  readonly label: string
  /** The elapsed time or the duration; '' where the run has not begun. */
  readonly time: string
  /** The activity, the awaited permission or the failure; `undefined` for none. */
  readonly detail: string | undefined
  readonly detailTone: Tone
}

export interface Sidebar {
  readonly counts: string
  readonly rows: readonly Row[]
  /** The number of tasks that are left out, in words; `undefined` for none. */
  readonly more: string | undefined
}

/** @param width of a line, in cells */
export function sidebarOf(views: readonly TaskView[], now: number, width: number): Sidebar | undefined {
  if (views.length === 0) return undefined
  const unfinished = inOrder(views.filter(isUnfinished))
  const ended = views.filter((view) => !isUnfinished(view)).toSorted(byEnd)
  const latest = ended.slice(0, SHOWN_ENDED)
  const shown = [...unfinished.slice(0, SHOWN - latest.length), ...latest]
  const left = views.length - shown.length
  return {
    counts: [countsOf(views), signedCountsOf(views)].find((text) => widthOf(text) <= width - TITLE) ?? '',
    rows: shown.map((view) => rowOf(view, now, width)),
    more: left === 0 ? undefined : `… ${left} more: /tasks`,
  }
}

export interface Badge {
  readonly running: string | undefined
  readonly waiting: string | undefined
}

/** Returns the counts beside the prompt, which has little room. */
export function badgeOf(views: readonly TaskView[]): Badge | undefined {
  const running = views.filter(({ phase }) => phase === 'running').length
  const waiting = views.filter(({ phase }) => phase === 'waiting').length
  if (running + waiting === 0) return undefined
  return {
    running: running === 0 ? undefined : `${PHASES.running.sign} ${running} running`,
    waiting: waiting === 0 ? undefined : `${PHASES.waiting.sign} ${waiting} waiting`,
  }
}

export interface Entry {
  readonly taskID: string
  readonly title: string
  readonly description: string
  readonly footer: string
  readonly category: string
}

/** @param width of all texts of an entry together, in cells */
export function entriesOf(views: readonly TaskView[], now: number, width: number): readonly Entry[] {
  const ended = views.filter((view) => !isUnfinished(view)).toSorted(byEnd)
  return inOrder([...views.filter(isUnfinished), ...ended]).map((view) => {
    const { task, phase } = view
    const footer = [timeOf(view, now), usageOf(view)].filter((text) => text !== '').join(' · ')
    const title = `${PHASES[phase].sign} ${truncate(task.description, Math.floor(width / 2))}`
    const monitor = monitorText(task)
    const detail = detailOf(view)
    const about = [
      monitor ?? traitsOf(task).worker(task),
      budgetOf(view, now),
      detail === monitor ? undefined : detail,
      changesOf(task),
    ]
      .filter((text) => text !== undefined)
      .join(' · ')
    return {
      taskID: task.id,
      title,
      description: truncate(about, Math.max(0, width - widthOf(title) - widthOf(footer) - 3)),
      footer,
      category: PHASES[phase].title,
    }
  })
}

/** Returns the number of unfinished tasks in each phase, and the usage of all tasks. */
export function totalOf(views: readonly TaskView[]): string {
  const tokens = views.reduce((sum, view) => sum + view.tokens, 0)
  const cost = views.reduce((sum, view) => sum + view.cost, 0)
  return [countsOf(views), usageText(tokens, cost)].filter((text) => text !== '').join(' · ')
}

/** Returns the worker of a task: the name of the agent, or the mark of a command. */
export function doerOf({ task }: TaskView): string {
  return traitsOf(task).mark(task)
}

/** Returns the detail of a task besides its name. */
export function detailOf(view: TaskView): string | undefined {
  const { task, phase, permissionRequests, activity } = view
  switch (phase) {
    case 'waiting':
      return `waits: ${formatAsked(permissionRequests)}`
    case 'running':
      return traitsOf(task).runningDetail(task, activity)
    case 'pending':
      return `waits for ${dependenciesOf(task).join(', ') || 'its turn'}`
    default: {
      const question = questionOf(task)
      if (question !== undefined) return `asks: ${oneLine(question)}`
      return task.status === 'failed' ? task.failure.message : undefined
    }
  }
}

/** Returns the changes of an ended task, or the branch of an unfinished one; `undefined` if there is nothing to show. */
function changesOf(task: Task): string | undefined {
  const { branch } = treeOf(task) ?? {}
  if (branch === undefined) return undefined
  if (!isEnded(task)) return branch
  switch (task.changes?.type) {
    case 'committed':
      return `${counted(task.changes.files, 'changed file')} on ${branch}`
    case 'failed':
      return `not committed: ${task.changes.message}`
    case 'kept':
      return `unchanged, kept: ${task.changes.why}`
    case 'none':
    case 'removed':
    case undefined:
      return undefined
  }
}

/** Returns how much of its budget a task has used; `undefined` if it has none, or has not begun. */
function budgetOf({ task, phase, tokens, cost, toolCalls }: TaskView, now: number): string | undefined {
  if (!('budget' in task) || !task.budget || phase === 'pending') return undefined
  const { minutes } = task.budget
  // The session of a task at another place has none of its messages. Its minutes alone are known before the end.
  const isCounted = isEnded(task) || task.place === undefined
  const budget = isCounted ? task.budget : minutes === undefined ? undefined : { minutes }
  if (!budget) return undefined
  const spent = spentOf(task, { ...NO_USAGE, toolCalls }, now)
  return shareText({
    budget,
    spent: { ...spent, tokens: Math.max(spent.tokens, tokens), cost: Math.max(spent.cost, cost) },
  })
}

function rowOf(view: TaskView, now: number, width: number): Row {
  const { task, phase } = view
  const time = timeOf(view, now)
  // The branch begins with the name of this plugin, and the row is short.
  const left = isEnded(task) ? changesOf(task)?.replace('opencode-background/', '') : undefined
  const used = isEnded(task) ? undefined : budgetOf(view, now)
  const detail = [used, detailOf(view) ?? left].filter((text) => text !== undefined).join(' · ')
  // Two cells for the sign, one before the time.
  const room = width - 2 - (time === '' ? 0 : widthOf(time) + 1)
  return {
    taskID: task.id,
    sessionID: task.sessionID,
    sign: PHASES[phase].sign,
    tone: PHASES[phase].tone,
    label: truncate(`${doerOf(view)} ${task.description}`, room),
    time,
    detail: detail === '' ? undefined : truncate(detail, width - 2),
    // The sign alone has the warning colour, which is hard to read in a light theme.
    detailTone: phase === 'waiting' ? 'text' : 'textMuted',
  }
}

function timeOf({ begunAt, endedAt }: TaskView, now: number): string {
  if (begunAt === undefined) return ''
  // Tenths would flicker while the time is running.
  if (endedAt === undefined) return formatDuration(now - begunAt).replace(/\.\ds$/, 's')
  return formatDuration(endedAt - begunAt)
}

function usageOf({ tokens, cost }: TaskView): string {
  return usageText(tokens, cost)
}

function usageText(tokens: number, cost: number): string {
  return [tokens > 0 ? `${formatTokens(tokens)} tokens` : '', cost > 0 ? formatCost(cost) : '']
    .filter((text) => text !== '')
    .join(' · ')
}

type Unfinished = Exclude<Phase, EndedTask['status']>

/** The phases that are counted, in this order. */
const COUNTED = Object.keys({ running: 0, waiting: 0, pending: 0 } satisfies Record<
  Unfinished,
  0
>) as Unfinished[]

function countsOf(views: readonly TaskView[]): string {
  const counts = countEach(views).map(([phase, count]) => `${count} ${phase}`)
  return counts.length === 0 ? 'all ended' : counts.join(', ')
}

/** Returns the counts with signs, for a narrow sidebar. */
function signedCountsOf(views: readonly TaskView[]): string {
  return countEach(views)
    .map(([phase, count]) => `${PHASES[phase].sign} ${count}`)
    .join('  ')
}

function countEach(views: readonly TaskView[]): readonly (readonly [Phase, number])[] {
  return COUNTED.map((phase) => [phase, views.filter((view) => view.phase === phase).length] as const).filter(
    ([, count]) => count > 0,
  )
}

function inOrder(views: readonly TaskView[]): TaskView[] {
  return views.toSorted((a, b) => ORDER.indexOf(a.phase) - ORDER.indexOf(b.phase))
}

/** Sorts by end, latest first. */
function byEnd(a: TaskView, b: TaskView): number {
  return (b.endedAt ?? 0) - (a.endedAt ?? 0)
}
