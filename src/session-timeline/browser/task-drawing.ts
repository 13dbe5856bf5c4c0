/** Prepares a task for the picture: its intervals by kind. Pure. */
import type { Interval, MarkType, PhaseType, TaskTimeline, ToolSpan, Turn } from '../session-timeline.ts'

export type ToolType = 'read' | 'edit' | 'shell' | 'other'

export const TOOL_TYPES: readonly ToolType[] = ['read', 'edit', 'shell', 'other']

const TYPE_OF_TOOL: ReadonlyMap<string, ToolType> = new Map([
  ...['read', 'grep', 'glob', 'list', 'ls', 'lsp', 'webfetch', 'websearch', 'codesearch'].map(
    (tool) => [tool, 'read'] as const,
  ),
  ...['edit', 'write', 'patch', 'apply_patch', 'multiedit'].map((tool) => [tool, 'edit'] as const),
  ...['bash', 'shell'].map((tool) => [tool, 'shell'] as const),
])

export function toolTypeOf(tool: string): ToolType {
  return TYPE_OF_TOOL.get(tool) ?? 'other'
}

/** The activity of a model: its own time, and its tools' by type. */
export interface Activity {
  readonly model: readonly Interval[]
  readonly tools: Readonly<Record<ToolType, readonly Interval[]>>
  readonly failed: readonly Interval[]
}

export interface TaskDrawing extends Activity {
  readonly task: TaskTimeline
  readonly from: number
  readonly to: number
  readonly phases: Readonly<Record<PhaseType, readonly Interval[]>>
  readonly marks: Readonly<Record<MarkType, readonly number[]>>
}

/** @param stopped the intervals in which a turn waits for a permission or for its provider */
export function activityOf(turns: readonly Turn[], stopped: readonly Interval[] = []): Activity {
  const tools: Record<ToolType, Interval[]> = { read: [], edit: [], shell: [], other: [] }
  const failed: ToolSpan[] = []
  for (const span of turns.flatMap((turn) => turn.tools)) {
    tools[toolTypeOf(span.tool)].push(...without(span, stopped))
    if (span.failed) failed.push(span)
  }
  return { model: turns.flatMap((turn) => without(turn, [...turn.tools, ...stopped])), tools, failed }
}

/** Returns the parts of an interval that none of the others covers. */
function without({ from, to }: Interval, others: readonly Interval[]): Interval[] {
  const parts: Interval[] = []
  let at = from
  for (const other of [...others].sort((a, b) => a.from - b.from)) {
    if (other.from > at) parts.push({ from: at, to: Math.min(other.from, to) })
    at = Math.max(at, other.to)
  }
  if (at < to) parts.push({ from: at, to })
  return parts
}

export function drawingOf(task: TaskTimeline): TaskDrawing {
  const phases: Record<PhaseType, Interval[]> = {
    queued: [],
    working: [],
    permission: [],
    retry: [],
    unknown: [],
  }
  for (const phase of task.runs.flatMap((run) => run.phases)) phases[phase.type].push(phase)
  const marks: Record<MarkType, number[]> = { steered: [], continued: [], matched: [], noticed: [], read: [] }
  for (const { type, at } of task.marks) marks[type].push(at)
  return {
    task,
    from: task.runs[0]?.from ?? 0,
    to: task.runs.at(-1)?.to ?? 0,
    ...activityOf(task.turns, [...phases.permission, ...phases.retry]),
    phases,
    marks,
  }
}
