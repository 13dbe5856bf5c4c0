/** What stands where: the lines of the sidebar, the badge, the entries of the dialog. Pure. */
import { wordsOf } from '../text/words.ts'
import { formatAsked, formatCost, formatDuration, formatTokens } from '../text/format.ts'
import { truncate, widthOf } from './truncate.ts'
import { isUnfinished, type Phase, type TaskView } from './task-view.ts'

/** A colour of the theme, by its name there. */
export type Tone = 'text' | 'textMuted' | 'success' | 'warning' | 'error' | 'info'

/** A sign for each state, so that none is told by its colour alone; each takes one cell. */
const SIGNS: Readonly<Record<Phase, string>> = {
  waiting: '?',
  running: '●',
  pending: '○',
  completed: '✓',
  failed: '✗',
  cancelled: '–',
}

const TONES: Readonly<Record<Phase, Tone>> = {
  waiting: 'warning',
  running: 'info',
  pending: 'textMuted',
  completed: 'success',
  failed: 'error',
  cancelled: 'textMuted',
}

const TITLES: Readonly<Record<Phase, string>> = {
  waiting: 'Waiting for you',
  running: 'Running',
  pending: 'Pending',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
}

/** What wants something of the user comes first. */
const ORDER: readonly Phase[] = ['waiting', 'running', 'pending', 'failed', 'completed', 'cancelled']

/** How many tasks the sidebar shows, and how many of those have ended. */
const SHOWN = 10
const SHOWN_ENDED = 3

/** How much of the first line the title of the section takes. */
const TITLE = 'Background '.length

export interface Row {
  readonly taskID: string
  readonly sessionID: string
  readonly sign: string
  readonly tone: Tone
  /** Who does what. */
  readonly label: string
  /** For how long, or how long it took; '' where it has not begun. */
  readonly time: string
  /** What it does, or waits for; `undefined` where there is nothing to say. */
  readonly detail: string | undefined
  readonly detailTone: Tone
}

export interface Sidebar {
  readonly counts: string
  readonly rows: readonly Row[]
  /** What is left out, in words; `undefined` where nothing is. */
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

/** Beside the prompt, where there is little room. */
export function badgeOf(views: readonly TaskView[]): Badge | undefined {
  const running = views.filter(({ phase }) => phase === 'running').length
  const waiting = views.filter(({ phase }) => phase === 'waiting').length
  if (running + waiting === 0) return undefined
  return {
    running: running === 0 ? undefined : `${SIGNS.running} ${running} running`,
    waiting: waiting === 0 ? undefined : `${SIGNS.waiting} ${waiting} waiting`,
  }
}

export interface Entry {
  readonly taskID: string
  readonly title: string
  readonly description: string
  readonly footer: string
  readonly category: string
}

/** @param width of the texts of an entry together, in cells */
export function entriesOf(views: readonly TaskView[], now: number, width: number): readonly Entry[] {
  const ended = views.filter((view) => !isUnfinished(view)).toSorted(byEnd)
  return inOrder([...views.filter(isUnfinished), ...ended]).map((view) => {
    const { task, phase } = view
    const footer = [timeOf(view, now), usageOf(view)].filter((text) => text !== '').join(' · ')
    const title = `${SIGNS[phase]} ${truncate(task.description, Math.floor(width / 2))}`
    const about = [wordsOf(task).worker(task), detailOf(view)]
      .filter((text) => text !== undefined)
      .join(' · ')
    return {
      taskID: task.id,
      title,
      description: truncate(about, Math.max(0, width - widthOf(title) - widthOf(footer) - 3)),
      footer,
      category: TITLES[phase],
    }
  })
}

/** What all tasks have used together, and how many there are of each kind. */
export function totalOf(views: readonly TaskView[]): string {
  const tokens = views.reduce((sum, view) => sum + view.tokens, 0)
  const cost = views.reduce((sum, view) => sum + view.cost, 0)
  return [countsOf(views), usageText(tokens, cost)].filter((text) => text !== '').join(' · ')
}

/** Who does the task: the name of the agent, or that it is a command. */
export function doerOf({ task }: TaskView): string {
  return wordsOf(task).mark(task)
}

/** What is to be said of a task besides its name. */
export function detailOf(view: TaskView): string | undefined {
  const { task, phase, permissionRequests, activity } = view
  switch (phase) {
    case 'waiting':
      return `waits: ${formatAsked(permissionRequests)}`
    case 'running':
      if (task.kind === 'agent') return activity ?? 'starting'
      if ('matched' in task && task.matched?.text !== undefined) return `said: ${task.matched.text}`
      return task.command === task.description ? undefined : task.command
    case 'pending':
      return 'waits for its turn'
    case 'failed':
      return task.status === 'failed' ? task.failure.message : undefined
    case 'completed':
    case 'cancelled':
      return undefined
  }
}

function rowOf(view: TaskView, now: number, width: number): Row {
  const { task, phase } = view
  const time = timeOf(view, now)
  const detail = phase === 'completed' || phase === 'cancelled' ? undefined : detailOf(view)
  // Two cells for the sign, one before the time.
  const room = width - 2 - (time === '' ? 0 : widthOf(time) + 1)
  return {
    taskID: task.id,
    sessionID: task.sessionID,
    sign: SIGNS[phase],
    tone: TONES[phase],
    label: truncate(`${doerOf(view)} ${task.description}`, room),
    time,
    detail: detail === undefined ? undefined : truncate(detail, width - 2),
    // A light theme's own warning colour is hard to read: the sign alone has it.
    detailTone: phase === 'waiting' ? 'text' : 'textMuted',
  }
}

function timeOf({ begunAt, endedAt }: TaskView, now: number): string {
  if (begunAt === undefined) return ''
  // Tenths would make what runs flicker.
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

const UNFINISHED = ['running', 'waiting', 'pending'] as const

function countsOf(views: readonly TaskView[]): string {
  const counts = countEach(views).map(([phase, count]) => `${count} ${phase}`)
  return counts.length === 0 ? 'all ended' : counts.join(', ')
}

/** The same where there is less room. */
function signedCountsOf(views: readonly TaskView[]): string {
  return countEach(views)
    .map(([phase, count]) => `${SIGNS[phase]} ${count}`)
    .join('  ')
}

function countEach(views: readonly TaskView[]): readonly (readonly [Phase, number])[] {
  return UNFINISHED.map(
    (phase) => [phase, views.filter((view) => view.phase === phase).length] as const,
  ).filter(([, count]) => count > 0)
}

function inOrder(views: readonly TaskView[]): TaskView[] {
  return views.toSorted((a, b) => ORDER.indexOf(a.phase) - ORDER.indexOf(b.phase))
}

/** The latest first. */
function byEnd(a: TaskView, b: TaskView): number {
  return (b.endedAt ?? 0) - (a.endedAt ?? 0)
}
