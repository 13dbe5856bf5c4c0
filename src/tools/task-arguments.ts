/** The arguments of `background_task`. */
import * as z from 'zod/mini'
import { described } from './tool.ts'

const nonEmpty = (what: string): z.ZodMiniString =>
  z.string().check(z.trim(), z.minLength(1, `must not be empty: ${what}`))

const LIMIT = z.exactOptional(z.number())

export const ARGS = {
  description: described(z.optional(nonEmpty('3–5 words that name the task')), '3–5 words, for people'),
  // The prompt is not trimmed.
  prompt: described(z.string(), 'The whole task: the agent sees nothing else'),
  agent: described(z.optional(nonEmpty('the name of a sub-agent')), "The sub-agent's name"),
  task_id: described(
    z.optional(nonEmpty('the id of a task')),
    'Send the prompt to this task of yours: while it works, or to continue it',
  ),
  model: described(z.optional(nonEmpty('a model')), 'provider/model; default: the usual one'),
  worktree: described(z.optional(z.boolean()), 'Work in its own git worktree; ends as a branch'),
  budget: described(
    z.optional(z.object({ cost: LIMIT, tokens: LIMIT, toolCalls: LIMIT, minutes: LIMIT })),
    'Stops it; cost in $',
  ),
  where: z.optional(nonEmpty('the name of a machine')),
  after: described(
    z.optional(z.array(z.string())),
    'Task ids: start when all have completed, with their results',
  ),
}

export type TaskArgs = z.infer<z.ZodMiniObject<typeof ARGS>>
