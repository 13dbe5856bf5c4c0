/**
 * What a client asks the plugin to do with a task: one field in the metadata of its session, beside the record. Whoever
 * holds the task takes it, once, and writes the answer into it. A new request takes the place of the one before.
 */
import * as z from 'zod/mini'

/**
 * A command of the terminal UI that does nothing: the part there publishes it when it first hears of a task, so that the
 * server part knows that somebody has the view.
 */
export const VIEW_COMMAND = 'background.view'

/** Its key in a session's metadata. */
export const REQUEST_KEY = 'backgroundRequest'

const requestSchema = z.object({
  /** Chosen by the client; a request with another id is another one. */
  id: z.string().check(z.minLength(1)),
  /** The run that the client saw: what has gone on since may not be what it wants. */
  run: z.int().check(z.minimum(1)),
  /** `output`: the answer holds the last of what a command wrote; `look`: whether anybody runs it still. */
  kind: z.enum(['cancel', 'continue', 'output', 'look']),
  /** What is to be said to the task that goes on. */
  prompt: z.exactOptional(z.string()),
  answer: z.exactOptional(z.object({ ok: z.boolean(), text: z.string() })),
})

export type TaskRequest = z.infer<typeof requestSchema>
export type RequestReply = NonNullable<TaskRequest['answer']>

/** The request that stands in a session's metadata, answered or not. */
export function readRequest(
  metadata: { readonly [key: string]: unknown } | undefined,
): TaskRequest | undefined {
  const found = metadata?.[REQUEST_KEY]
  return found === undefined ? undefined : requestSchema.safeParse(found).data
}
