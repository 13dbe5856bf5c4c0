/** The structured content of answers: for each tool a schema of its output, and the data of a call in that form. Pure. */
import * as z from 'zod/mini'
import type { CancelAnswer } from '../tools/render/cancel-text.ts'
import type { TaskAnswer } from '../tools/render/task-text.ts'
import { rowsOf, type NotedTask, type TaskList } from '../tools/render/list-text.ts'
import type { BudgetUse } from '../task/budget-use.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { statuses } from '../task/state-schema.ts'
import type { Budget } from '../task/state.ts'
import { isEnded, questionOf, type Task } from '../task/task.ts'
import { stepText } from '../text/step-text.ts'
import { KINDS, traitsOf } from '../work/kinds.ts'
import type { StoryAnswer } from '../tools/render/story-text.ts'

const optional = z.exactOptional

const amounts = z.object({
  cost_usd: optional(z.number()),
  tokens: optional(z.number()),
  tool_calls: optional(z.number()),
  minutes: optional(z.number()),
})

/** The limits, and what is used of each. */
const budgetSchema = z.object({ limits: amounts, used: amounts })

const taskSchema = z.object({
  task_id: z.string(),
  kind: z.enum(Object.keys(KINDS) as Task['kind'][]),
  status: statuses,
  description: z.string(),
  /** The reason that delays a task, or its leftover processes. */
  note: optional(z.string()),
  created_at: z.string(),
  started_at: optional(z.string()),
  ended_at: optional(z.string()),
  duration_ms: optional(z.number()),
  command: optional(z.string()),
  cwd: optional(z.string()),
  agent: optional(z.string()),
  session_id: optional(z.string()),
  exit_code: optional(z.int()),
  signal: optional(z.string()),
  /** The tasks for whose results it waits. */
  after: optional(z.array(z.string())),
  budget: optional(budgetSchema),
  /** The question that it has ended with. */
  asks: optional(z.string()),
  /** Why it failed. */
  reason: optional(z.string()),
  error: optional(z.string()),
  /** The text of `notify_on` that has appeared. */
  matched: optional(z.string()),
  tokens: optional(z.number()),
  cost_usd: optional(z.number()),
})

const streamSchema = z.object({ text: z.string(), bytes_before: z.int() })

export const readSchema = z.object({
  task: taskSchema,
  /** The end of each stream. */
  stdout: optional(streamSchema),
  stderr: optional(streamSchema),
  /** The directory with the whole output of a command, in the files `stdout` and `stderr`. */
  directory: optional(z.string()),
  has_leftover_processes: optional(z.boolean()),
  /** The lines that matched, with `notify_every`. */
  monitor: optional(z.object({ matching_lines: z.int(), notices: z.int(), last_lines: z.array(z.string()) })),
  /** The page that begins at `offset`. */
  page: optional(z.object({ text: z.string(), offset: z.int(), size: z.int() })),
  /** The result of an agent, or its last text. */
  text: optional(z.string()),
  /** The steps of a task, instead of its output. */
  steps: optional(z.array(z.object({ at: z.string(), text: z.string(), times: z.int() }))),
})

export const listSchema = z.object({
  tasks: z.array(taskSchema),
  /** How many older ended tasks are left out. */
  older_count: z.int(),
  /** Of all tasks of the session together. */
  budget: optional(budgetSchema),
  problems: z.array(z.string()),
})

export const cancelSchema = z.object({
  tasks: z.array(
    z.object({
      task: taskSchema,
      /** Whether it had ended before the call. */
      had_ended: z.boolean(),
      leftover_processes: z.enum(['none', 'killed', 'alive']),
    }),
  ),
})

type TaskJSON = z.infer<typeof taskSchema>

export function startedJSON({ task, note, budget }: NotedTask): z.infer<typeof readSchema> {
  return { task: taskJSON(task, note, budget) }
}

export function readJSON(answer: TaskAnswer | StoryAnswer): z.infer<typeof readSchema> {
  if (!('report' in answer)) return { task: taskJSON(answer.task), steps: stepsJSON(answer) }
  const { report, note, budget } = answer
  const { task, output, piece, monitor, transcript } = report
  return {
    task: taskJSON(task, note, budget),
    ...(output && {
      stdout: { text: output.stdout.text, bytes_before: output.stdout.leftOutBytes },
      stderr: { text: output.stderr.text, bytes_before: output.stderr.leftOutBytes },
      directory: output.directory,
      has_leftover_processes: output.hasLeftovers,
    }),
    ...(monitor && {
      monitor: { matching_lines: monitor.matches, notices: monitor.notices, last_lines: [...monitor.lines] },
    }),
    ...(piece && {
      page: { text: Buffer.from(piece.bytes).toString('utf8'), offset: piece.offset, size: piece.size },
    }),
    ...(transcript && { text: transcript.text }),
  }
}

function stepsJSON({ story }: StoryAnswer) {
  return (story?.steps ?? []).map((step) => ({
    at: timeOf(step.at),
    text: stepText(step),
    times: step.times,
  }))
}

export function listJSON({ shown, budget, problems }: TaskList): z.infer<typeof listSchema> {
  const { listed, olderCount } = rowsOf(shown)
  return {
    tasks: listed.map(({ task, note, budget: own }) => taskJSON(task, note, own)),
    older_count: olderCount,
    ...(budget && { budget: budgetJSON(budget) }),
    problems: [...problems],
  }
}

export function cancelJSON({ tasks }: CancelAnswer): z.infer<typeof cancelSchema> {
  return {
    tasks: tasks.map(({ task, hadEnded, leftovers }) => ({
      task: taskJSON(task),
      had_ended: hadEnded,
      leftover_processes: leftovers,
    })),
  }
}

export function taskJSON(task: Task, note?: string, budget?: BudgetUse): TaskJSON {
  const after = dependenciesOf(task)
  const { startedAt, matched } = { startedAt: undefined, matched: undefined, ...task }
  return {
    task_id: task.id,
    kind: task.kind,
    status: task.status,
    description: task.description,
    ...(note !== undefined && { note }),
    created_at: timeOf(task.createdAt),
    ...(startedAt !== undefined && { started_at: timeOf(startedAt) }),
    ...workJSON(task),
    ...(after.length > 0 && { after: [...after] }),
    ...(budget && { budget: budgetJSON(budget) }),
    ...(matched?.text !== undefined && { matched: matched.text }),
    ...endJSON(task),
  }
}

function budgetJSON({ budget, spent }: BudgetUse): z.infer<typeof budgetSchema> {
  return { limits: amountsJSON(budget), used: amountsJSON(spent) }
}

function amountsJSON({ cost, tokens, toolCalls, minutes }: Budget): z.infer<typeof amounts> {
  return {
    ...(cost !== undefined && { cost_usd: cost }),
    ...(tokens !== undefined && { tokens }),
    ...(toolCalls !== undefined && { tool_calls: toolCalls }),
    ...(minutes !== undefined && { minutes }),
  }
}

function workJSON(task: Task): Partial<TaskJSON> {
  return {
    ...('command' in task && { command: task.command, cwd: task.cwd }),
    ...('agent' in task && { agent: task.agent, session_id: task.sessionID }),
  }
}

function endJSON(task: Task): Partial<TaskJSON> {
  if (!isEnded(task)) return {}
  const { startedAt, endedAt, exit, usage } = task
  const question = questionOf(task)
  return {
    ended_at: timeOf(endedAt),
    ...(startedAt !== undefined && { duration_ms: endedAt - startedAt }),
    ...(exit?.type === 'exited' && { exit_code: exit.code }),
    ...(exit?.type === 'killed' && { signal: exit.signal }),
    ...(question !== undefined && { asks: question }),
    ...(task.status === 'failed' && { reason: task.failure.reason, error: task.failure.message }),
    ...(traitsOf(task).runsInSession && { tokens: usage.tokens, cost_usd: usage.cost }),
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
