/** The tool that looks at a task: its result when it has ended, what it does while it runs. */
import * as z from 'zod'
import { cutMiddle, formatCost, formatDuration, formatTokens } from '../format.ts'
import type { BackgroundManager, TaskReport } from '../manager.ts'
import { isEnded, type EndedTask, type UnfinishedTask, type Usage } from '../task/task.ts'
import { defineTool, ownTask, type ToolDefinition } from './tool.ts'

/** Below the host's own limit of 51,200 bytes, past which it would cut the end off (contract 11.7). */
const RESULT_BYTES = 48_000

export function backgroundOutput(manager: BackgroundManager, now: () => number): ToolDefinition {
  return defineTool({
    description:
      'Look at a background task: its status while it runs, its result when it has ended. A notice with the result ' +
      'comes by itself, so this is for results that were cut, or with block for when you cannot go on without it.',
    args: {
      task_id: z.string().trim().describe('The id that background_task returned'),
      block: z.boolean().default(false).describe('Wait until it ends or the timeout passes'),
      timeout: z
        .int()
        .min(1)
        .max(600_000)
        .default(120_000)
        .describe('Of block, in milliseconds; at most 600000'),
    },
    async execute({ task_id, block, timeout }, context) {
      const { id } = ownTask(manager, task_id, context.sessionID)
      const report = await manager.output(
        id,
        block ? { timeoutMs: timeout, signal: context.abort } : undefined,
      )
      return {
        title: report.task.description,
        output: describe(report, now()),
        metadata: { taskID: id, sessionID: report.task.sessionID, status: report.task.status },
      }
    },
  })
}

function describe(report: TaskReport, now: number): string {
  const { task } = report
  const lines = isEnded(task) ? endedLines(task, report) : unfinishedLines(task, report, now)
  return [`task_id: ${task.id}`, `agent: ${task.agent}`, `description: ${task.description}`, ...lines].join(
    '\n',
  )
}

function unfinishedLines(task: UnfinishedTask, { transcript }: TaskReport, now: number): string[] {
  if (task.status === 'pending')
    return ['status: pending', `waits for a slot since ${formatDuration(now - task.createdAt)}`]
  const lines = [`status: ${task.status}`, `elapsed: ${formatDuration(now - task.startedAt)}`]
  if (!transcript) return lines
  const { activity, usage } = transcript
  const last = activity ? `${activity.what}, ${formatDuration(now - activity.at)} ago` : 'none yet'
  return [...lines, `last activity: ${last}`, usageLine(usage)]
}

function endedLines(task: EndedTask, { transcript }: TaskReport): string[] {
  const duration =
    task.startedAt === undefined ? 'never started' : formatDuration(task.endedAt - task.startedAt)
  const lines = [`status: ${task.status}`, `duration: ${duration}`, usageLine(task.usage)]
  if (task.status === 'failed') lines.push(`reason: ${task.failure.reason}`, `error: ${task.failure.message}`)
  if (task.status === 'cancelled') lines.push(`cancelled by: ${task.by === 'parent' ? 'you' : 'the user'}`)
  if (!transcript) return [...lines, '', 'Its session cannot be read any more.']
  if (transcript.text === '') return [...lines, '', 'It said nothing.']
  const marker = (bytes: number): string => `[… ${bytes} bytes left out …]`
  const heading = task.status === 'completed' ? 'result:' : 'what it had said last:'
  return [...lines, '', heading, cutMiddle(transcript.text, RESULT_BYTES, marker)]
}

function usageLine({ toolCalls, tokens, cost }: Usage): string {
  return `tool calls: ${toolCalls}, tokens: ${formatTokens(tokens)}, cost: ${formatCost(cost)}`
}
