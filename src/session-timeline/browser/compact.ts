/**
 * The form of a timeline in the page: times are relative, and turns, tool calls and phases are tuples of numbers. It has a
 * quarter of the characters of the timeline's JSON. Pure.
 */
import type {
  Mark,
  MarkType,
  Phase,
  PhaseType,
  RunTimeline,
  SessionTimeline,
  TaskTimeline,
  ToolSpan,
  Turn,
} from '../session-timeline.ts'
import type { TaskStatus } from '../../task/state.ts'

const PHASES: readonly PhaseType[] = ['queued', 'working', 'permission', 'retry', 'unknown']
const MARKS: readonly MarkType[] = ['steered', 'continued', 'matched', 'noticed', 'read']
/** Costs are whole numbers of a millionth of a dollar. */
const PER_DOLLAR = 1_000_000

/**
 * From, duration, model, tokens, cost, then three numbers for each tool call: its tool, its start since the turn's, its
 * duration. Models and tools are indices into the words; a model of 0 is unknown, and a failed tool's index is negated.
 */
type CompactTurn = readonly number[]

/**
 * The run, from, duration, status (empty: not recorded), reason, then three numbers for each phase: its type, its start since
 * the run's, duration.
 */
type CompactRun = readonly [number, number, number, TaskStatus | '', string, ...number[]]

type CompactTask = Omit<TaskTimeline, 'runs' | 'turns' | 'marks'> & {
  readonly runs: readonly CompactRun[]
  readonly turns: readonly CompactTurn[]
  /** Two numbers for each mark: its type, and its time. */
  readonly marks: readonly number[]
}

export interface CompactTimeline {
  /** All other times except `readAt` are relative to this one. */
  readonly start: number
  /** The names of models and tools; the first is empty. */
  readonly words: readonly string[]
  readonly session: Omit<SessionTimeline, 'turns' | 'tasks'>
  readonly turns: readonly CompactTurn[]
  readonly tasks: readonly CompactTask[]
}

export function compact({ turns, tasks, ...session }: SessionTimeline): CompactTimeline {
  const start = Math.min(
    session.readAt,
    ...[...turns.slice(0, 1), ...tasks.flatMap(({ runs }) => runs.slice(0, 1))].map(({ from }) => from),
  )
  const indices = new Map<string, number>([['', 0]])
  const indexOf = (word: string): number => {
    const known = indices.get(word)
    if (known !== undefined) return known
    indices.set(word, indices.size)
    return indices.size - 1
  }
  const compactTurn = (turn: Turn): CompactTurn => [
    turn.from - start,
    turn.to - turn.from,
    indexOf(turn.model ?? ''),
    turn.tokens,
    Math.round(turn.cost * PER_DOLLAR),
    ...turn.tools.flatMap(({ tool, failed, from, to }) => [
      indexOf(tool) * (failed ? -1 : 1),
      from - turn.from,
      to - from,
    ]),
  ]
  const compactRun = ({ run, from, to, status, reason = '', phases }: RunTimeline): CompactRun => [
    run,
    from - start,
    to - from,
    status ?? '',
    reason,
    ...phases.flatMap((phase) => [PHASES.indexOf(phase.type), phase.from - from, phase.to - phase.from]),
  ]
  return {
    start,
    session,
    turns: turns.map(compactTurn),
    tasks: tasks.map((task) => ({
      ...task,
      runs: task.runs.map(compactRun),
      turns: task.turns.map(compactTurn),
      marks: task.marks.flatMap(({ type, at }) => [MARKS.indexOf(type), at - start]),
    })),
    // The last property: it is complete only now.
    words: [...indices.keys()],
  }
}

export function expand({ start, words, session, turns, tasks }: CompactTimeline): SessionTimeline {
  const word = (index: number): string => words[Math.abs(index)] ?? ''
  const expandTurn = ([at = 0, ms = 0, model = 0, tokens = 0, cost = 0, ...tools]: CompactTurn): Turn => ({
    from: start + at,
    to: start + at + ms,
    ...(model !== 0 && { model: word(model) }),
    tokens,
    cost: cost / PER_DOLLAR,
    tools: groups(tools, 3).map(([tool = 0, since = 0, length = 0]): ToolSpan => {
      const from = start + at + since
      return { tool: word(tool), from, to: from + length, ...(tool < 0 && { failed: true }) }
    }),
  })
  const expandRun = ([run, at, ms, status, reason, ...phases]: CompactRun): RunTimeline => ({
    run,
    from: start + at,
    to: start + at + ms,
    ...(status !== '' && { status }),
    ...(reason !== '' && { reason }),
    phases: groups(phases, 3).map(([type = 0, since = 0, length = 0]): Phase => {
      const from = start + at + since
      return { type: PHASES[type] ?? 'unknown', from, to: from + length }
    }),
  })
  return {
    ...session,
    turns: turns.map(expandTurn),
    tasks: tasks.map((task) => ({
      ...task,
      runs: task.runs.map(expandRun),
      turns: task.turns.map(expandTurn),
      marks: groups(task.marks, 2).flatMap(([type = 0, at = 0]): Mark[] => {
        const mark = MARKS[type]
        return mark ? [{ type: mark, at: start + at }] : []
      }),
    })),
  }
}

function groups(numbers: readonly number[], size: number): (readonly number[])[] {
  return Array.from({ length: Math.floor(numbers.length / size) }, (_, index) =>
    numbers.slice(index * size, (index + 1) * size),
  )
}
