/** Renders the story of a task. Pure. */
import { formatDuration } from '../../text/format.ts'
import { nameForModel } from '../../text/sanitize.ts'
import { stepText } from '../../text/step-text.ts'
import { LAST_STEPS, type Story } from '../../timeline.ts'
import type { Task } from '../../task/task.ts'

/** The steps of a task, as a call has read them. */
export interface StoryAnswer {
  readonly task: Task
  readonly story: Story | undefined
  /** When it was read, in milliseconds since the Unix epoch. */
  readonly at: number
}

/** Returns a line for each step, with its time since the first. */
export function storyText({ task, story, at: now }: StoryAnswer): string {
  const { id, description, status, createdAt } = task
  const { steps, forgotten } = story ?? { steps: [], forgotten: 0 }
  // After a restart, `createdAt` of the record can be earlier than the first step.
  const from = Math.min(createdAt, steps[0]?.at ?? createdAt)
  const lines = steps.map((step) => {
    const what = nameForModel(stepText(step))
    return line(step.at - from, step.times > 1 ? `${what} (${step.times} times)` : what)
  })
  if (forgotten > 0) lines.splice(lines.length - LAST_STEPS, 0, `  … ${forgotten} steps left out …`)
  return [
    `task_id: ${id}`,
    `description: ${nameForModel(description)}`,
    `status: ${status}`,
    '',
    `Requested at ${new Date(createdAt).toISOString()}. Steps:`,
    ...(lines.length > 0 ? lines : ['  none stored.']),
    line(now - from, 'now'),
  ].join('\n')
}

function line(sinceMs: number, what: string): string {
  return `  +${formatDuration(sinceMs)}  ${what}`
}
