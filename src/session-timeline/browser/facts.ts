/** The facts that the tooltip shows about a row at one point in time. Pure. */
import { counted, formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import { dateOf, endTypeOf, endWord, MARK_WORDS, PHASE_WORDS, timeOf } from './words.ts'
import type { Interval, SessionTimeline, TaskTimeline, Turn } from '../session-timeline.ts'

/** Returns the title, then one line for each fact. */
export function factsOfTask(
  task: TaskTimeline,
  { readAt, startedAt }: { readonly readAt: number; readonly startedAt: number },
  at?: number,
  nearMs = 0,
): string[] {
  const first = task.runs[0]
  const last = task.runs.at(-1)
  return [
    task.description || task.id,
    [task.id, task.kind === 'command' ? 'command' : task.agent, task.model].filter(Boolean).join(' · '),
    [
      endTypeOf(task) === 'unfinished'
        ? `${endWord(task)} at ${timeOf(readAt, startedAt)}, when this was read`
        : endWord(task),
      ...(first && last ? [`${timeOf(first.from, startedAt)} to ${timeOf(last.to, startedAt)}`] : []),
    ].join(' · '),
    [
      `waited ${formatDuration(task.waitingMs)}`,
      `worked ${formatDuration(task.workingMs)}`,
      ...(task.kind === 'agent'
        ? [
            counted(task.usage.toolCalls, 'tool call'),
            `${formatTokens(task.usage.tokens)} tokens`,
            formatCost(task.usage.cost),
          ]
        : []),
    ].join(' · '),
    ...(at === undefined ? [] : momentOf(task, startedAt, at, nearMs)),
    ...task.unknown.map((what) => `missing: ${what}`),
  ]
}

function momentOf(task: TaskTimeline, startedAt: number, at: number, nearMs: number): string[] {
  const phase = task.runs.flatMap(({ phases }) => phases).find((one) => contains(one, at))
  return [
    ...(phase ? [`${timeOf(at, startedAt)} ${PHASE_WORDS[phase.type]}, for ${lengthOf(phase)} in all`] : []),
    ...factsOfTurns(task.turns, at, nearMs),
    ...task.marks
      .filter((mark) => Math.abs(mark.at - at) <= nearMs)
      .map((mark) => `${timeOf(mark.at, startedAt)} ${MARK_WORDS[mark.type]}`),
  ]
}

export function factsOfSession(
  { title, sessionID, turns }: SessionTimeline,
  at?: number,
  nearMs = 0,
): string[] {
  const cost = turns.reduce((sum, turn) => sum + turn.cost, 0)
  const tokens = turns.reduce((sum, turn) => sum + turn.tokens, 0)
  const models = [...new Set(turns.flatMap(({ model }) => model ?? []))]
  return [
    title || sessionID,
    ['the session itself', ...models].join(' · '),
    [counted(turns.length, 'turn'), `${formatTokens(tokens)} tokens`, formatCost(cost)].join(' · '),
    ...(turns[0] ? [`from ${dateOf(turns[0].from)}`] : []),
    ...(at === undefined ? [] : factsOfTurns(turns, at, nearMs)),
  ]
}

function factsOfTurns(turns: readonly Turn[], at: number, nearMs: number): string[] {
  const turn = turns.find((one) => contains(one, at))
  if (!turn) return []
  const tools = turn.tools.filter(({ from, to }) => contains({ from: from - nearMs, to: to + nearMs }, at))
  return [
    `turn of ${lengthOf(turn)} · ${formatTokens(turn.tokens)} tokens · ${formatCost(turn.cost)}`,
    ...tools.slice(0, 6).map((tool) => `${tool.tool} ${lengthOf(tool)}${tool.failed ? ', failed' : ''}`),
    ...(tools.length > 6 ? [`and ${counted(tools.length - 6, 'more call')}`] : []),
  ]
}

function contains({ from, to }: Interval, at: number): boolean {
  return from <= at && at <= to
}

function lengthOf({ from, to }: Interval): string {
  return formatDuration(to - from)
}
