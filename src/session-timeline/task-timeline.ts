/** Makes the timeline of a task from its record, its recorded steps and the messages of its session. Pure. */
import type { Part, StoredMessage } from '../host/opencode.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { RECORDED_STEPS, type Step } from '../task/step.ts'
import { usedTogether, type Usage } from '../task/state.ts'
import { isEnded, usagesOf, type Task } from '../task/task.ts'
import { cutMiddle, leftOut } from '../text/format.ts'
import { brief, sanitize } from '../text/sanitize.ts'
import { stepText } from '../text/step-text.ts'
import { readTranscript, textOf, type AssistantTurn } from '../work/agent/transcript.ts'
import { tokensOf, usageOf } from '../work/agent/usage.ts'
import { traitsOf } from '../work/kinds.ts'
import { phasesOf, timeIn, type RunTimes } from './phases.ts'
import { readingOf, type Readings } from './end-readings.ts'
import type { Mark, RunTimeline, TaskTexts, TaskTimeline, ToolSpan, Turn } from './session-timeline.ts'

/** A task as it was read. */
export interface ReadTask {
  readonly task: Task
  readonly steps: readonly Step[]
  /** When its session was created. */
  readonly createdAt: number
  /** Of its session; `undefined` where OpenCode did not list them. */
  readonly messages: readonly StoredMessage[] | undefined
  /** Whether it has no recorded end, and the process that ran it is gone. */
  readonly isLeft: boolean
}

export interface TimelineContext {
  readonly readings: Readings
  readonly readAt: number
  /** The limit of each text, in bytes of UTF-8. */
  readonly textBytes: number
  readonly redact: boolean
}

/** Maximum characters of a description. */
const NAME_LENGTH = 200
/** The facts that only the steps show. */
const WAITS = 'waits for permissions and for the provider'

export function taskTimeline(read: ReadTask, context: TimelineContext): TaskTimeline {
  const { task, steps } = read
  const messages = read.messages ?? []
  const runs = runsOf(read, context.readAt)
  const known = runs.at(-1)?.phases.findLast(({ type }) => type !== 'unknown')
  const phases = runs.flatMap((run) => run.phases)
  const { agent, model, waitedFor } = { agent: undefined, model: undefined, waitedFor: undefined, ...task }
  const after = waitedFor ?? dependenciesOf(task)
  return {
    id: task.id,
    kind: task.kind,
    description: context.redact ? '' : brief(task.description, NAME_LENGTH),
    ...(agent !== undefined && { agent }),
    ...(model && { model: `${model.providerID}/${model.modelID}` }),
    status: task.status,
    ...(after.length > 0 && { after }),
    runs,
    turns: turnsOf(messages, known?.to ?? runs.at(-1)?.to ?? context.readAt),
    marks: marksOf(read, context.readings),
    usage: usageOfTask(task, messages),
    waitingMs: timeIn(phases, ['queued', 'permission', 'retry']),
    workingMs: timeIn(phases, ['working']),
    unknown: unknownIn(read, runs),
    ...(!context.redact && { texts: textsOf(task, steps, messages, context.textBytes) }),
  }
}

/** Returns the path of each file that a tool call of these messages has read, once for each call; a failed call has read none. */
export function filesRead(messages: readonly StoredMessage[]): string[] {
  return messages.flatMap(({ parts }) =>
    parts.flatMap((part) => {
      if (part.type !== 'tool' || part.tool !== 'read' || part.state.status !== 'completed') return []
      const path = part.state.input['filePath']
      return typeof path === 'string' ? [path] : []
    }),
  )
}

/**
 * Returns the turns of a session's model, oldest first. A turn without an end that another turn follows was cut off: it
 * ends at its last sign of life. The last turn ends at `openUntil`.
 */
export function turnsOf(messages: readonly StoredMessage[], openUntil: number): Turn[] {
  const answers = answersIn(messages)
  return answers.map((answer, index) => {
    const { info, parts } = answer
    const from = info.time.created
    const open = index === answers.length - 1 ? openUntil : lastSignOf([answer])
    const to = Math.max(from, info.time.completed ?? open)
    return {
      from,
      to,
      model: `${info.providerID}/${info.modelID}`,
      tokens: tokensOf(info.tokens),
      cost: info.cost,
      tools: parts.flatMap((part) => toolSpan(part, to)),
    }
  })
}

/** Returns the last time that messages and their parts name; 0 if there is none. */
export function lastSignOf(messages: readonly Pick<StoredMessage, 'info' | 'parts'>[]): number {
  const times = messages.flatMap(({ info, parts }) => [
    info.time.created,
    ...('completed' in info.time ? [info.time.completed] : []),
    ...parts.flatMap((part) => {
      const { time } = { time: undefined, ...(part.type === 'tool' ? part.state : part) }
      return time && 'start' in time ? [time.start, 'end' in time ? time.end : undefined] : []
    }),
  ])
  return times.reduce<number>((last, time = 0) => Math.max(last, time), 0)
}

function answersIn(messages: readonly StoredMessage[]): AssistantTurn[] {
  return messages.flatMap(({ info, parts }) => (info.role === 'assistant' ? [{ info, parts }] : []))
}

function toolSpan(part: Part, openUntil: number): ToolSpan[] {
  if (part.type !== 'tool' || part.state.status === 'pending') return []
  const { state, tool } = part
  const from = state.time.start
  return [
    {
      tool,
      from,
      to: Math.max(from, 'end' in state.time ? state.time.end : openUntil),
      ...(state.status === 'error' && { failed: true }),
    },
  ]
}

function runsOf(read: ReadTask, readAt: number): RunTimeline[] {
  const { task, steps, createdAt } = read
  const { earlier = [] } = { earlier: undefined, ...task }
  const first = earlier[0] ?? task
  const lost: RunTimeline[] =
    first.run === 1
      ? []
      : [
          {
            run: first.run - 1,
            from: createdAt,
            to: first.createdAt,
            phases: [{ type: 'unknown', from: createdAt, to: first.createdAt }],
          },
        ]
  const runs = [...lost, ...earlier.map((run) => runTimeline(run, steps, readAt))]
  if (!read.isLeft) return [...runs, runTimeline(task, steps, readAt)]
  const seenAt = Math.max(task.createdAt, lastSignOf(read.messages ?? []), steps.at(-1)?.at ?? 0)
  const { phases, ...last } = runTimeline(task, steps, Math.min(seenAt, readAt))
  const unknown = { type: 'unknown', from: last.to, to: readAt } as const
  return [...runs, { ...last, to: readAt, phases: [...phases, unknown] }]
}

/** A run of a task: the newest one, or an earlier one of its record. */
type Run = Pick<Task, 'run' | 'createdAt' | 'status'> & Partial<RunFacts>

interface RunFacts {
  readonly startedAt: number
  readonly endedAt: number
  readonly failure: { readonly reason: string }
}

function runTimeline(given: Run, steps: readonly Step[], readAt: number): RunTimeline {
  const { run, createdAt: from, status, startedAt, endedAt: to = readAt, failure } = given
  const times: RunTimes = { from, to, ...(startedAt !== undefined && { startedAt }) }
  return { run, from, to, status, ...(failure && { reason: failure.reason }), phases: phasesOf(times, steps) }
}

function marksOf({ task, steps, messages = [] }: ReadTask, readings: Readings): Mark[] {
  const {
    earlier = [],
    promptIDs = [],
    matched,
  } = {
    earlier: undefined,
    promptIDs: undefined,
    matched: undefined,
    ...task,
  }
  const later = [...earlier, task].slice(earlier[0]?.run === 1 || task.run === 1 ? 1 : 0)
  const steers = new Set([...earlier.flatMap((run) => run.promptIDs.slice(1)), ...promptIDs.slice(1)])
  const steered = messages.filter(({ info }) => steers.has(info.id)).map(({ info }) => info.time.created)
  const ends = [...earlier.map((end) => ({ ...end, id: task.id })), ...(isEnded(task) ? [task] : [])]
  const told = ends.flatMap((end): Mark[] => {
    const { noticedAt, readAt } = readingOf(readings, end)
    return [
      ...(noticedAt === undefined ? [] : [{ type: 'noticed', at: noticedAt } as const]),
      ...(readAt === undefined ? [] : [{ type: 'read', at: readAt } as const]),
    ]
  })
  const marks: Mark[] = [
    ...later.map(({ createdAt }) => ({ type: 'continued', at: createdAt }) as const),
    ...(messages.length === 0 ? stepsOf(steps, 'steered') : steered).map(
      (at) => ({ type: 'steered', at }) as const,
    ),
    ...(matched ? [{ type: 'matched', at: matched.at } as const] : []),
    ...told,
  ]
  return marks.sort((one, other) => one.at - other.at)
}

function stepsOf(steps: readonly Step[], event: 'steered'): number[] {
  return steps.flatMap((step) => (step.type === 'transition' && step.event === event ? [step.at] : []))
}

function usageOfTask(task: Task, messages: readonly StoredMessage[]): Usage {
  return isEnded(task) ? usedTogether(usagesOf(task)) : usageOf(answersIn(messages))
}

function unknownIn(read: ReadTask, runs: readonly RunTimeline[]): string[] {
  const { steps, messages, task, isLeft } = read
  const first = steps[0]
  const began = runs[0]?.from
  const hasForgotten =
    steps.length >= RECORDED_STEPS && first !== undefined && began !== undefined && first.at > began
  return [
    ...(runs.some(({ status }) => status === undefined)
      ? ['its first runs (a record keeps the newest run and some before it)']
      : []),
    ...(hasForgotten ? [`${WAITS} before its newest steps (a record keeps ${RECORDED_STEPS} steps)`] : []),
    ...(steps.length === 0 ? [`${WAITS} (its record has no steps that can be read)`] : []),
    ...(isLeft ? ['what became of it (the OpenCode that ran it is gone)'] : []),
    ...(messages === undefined && task.kind === 'agent' ? ['its messages, which OpenCode did not list'] : []),
  ]
}

function textsOf(
  task: Task,
  steps: readonly Step[],
  messages: readonly StoredMessage[],
  textBytes: number,
): TaskTexts {
  const cut = (text: string): string => cutMiddle(sanitize(text), textBytes, leftOut)
  const lines = isEnded(task) ? traitsOf(task).endLines(task) : []
  return {
    prompt: cut(promptOf(task, messages)),
    result: cut(resultOf(task, messages)),
    changes: cut(lines.join('\n')),
    story: steps.map((step) => `${isoTime(step.at)} ${stepText(step)}${timesText(step)}`),
  }
}

function promptOf(task: Task, messages: readonly StoredMessage[]): string {
  if (task.kind === 'command') return task.command
  const ids = new Set([...(task.earlier ?? []).flatMap(({ promptIDs }) => promptIDs), ...task.promptIDs])
  const prompts = messages.filter(({ info }) => ids.has(info.id)).map(({ parts }) => textOf(parts))
  return prompts.join('\n\n') || task.prompt
}

function resultOf(task: Task, messages: readonly StoredMessage[]): string {
  const failure = task.status === 'failed' ? `${task.failure.message}\n\n` : ''
  if (task.kind === 'agent') return failure + readTranscript(messages, task.promptIDs).text
  // The output of a command is a message that no model reads.
  const texts = messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === 'text' ? part.text : [])),
  )
  return failure + (texts.at(-1) ?? '')
}

/** `2026-11-26T09:30:00Z`: the page shows it in the time zone of its reader. */
function isoTime(at: number): string {
  return new Date(at).toISOString().replace(/\.\d+/, '')
}

function timesText({ times }: Step): string {
  return times === 1 ? '' : ` (${times} times)`
}
