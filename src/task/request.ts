/**
 * A client's request to the plugin about a task: one metadata field of the child session, beside the record.
 * The owner handles it once and writes the answer into it. A new request replaces the one before.
 */
import * as z from 'zod/mini'

/**
 * A command of the terminal UI that does nothing. The TUI part publishes it when it first receives a task, so
 * that the server part knows that the view is loaded.
 */
export const VIEW_COMMAND = 'background.view'

/** The request's key in a session's metadata. */
export const REQUEST_KEY = 'backgroundRequest'

/**
 * The command by which a client points the plugin at a request in this session: a session in a worktree reports its
 * metadata to another directory than its parent's (contract 17.2). The id of the session follows.
 */
export const REQUEST_COMMAND = 'background.request.'

/** The kinds that concern one task alone. */
export const REQUESTS = ['cancel', 'continue', 'output', 'check', 'apply', 'remove'] as const

const requestSchema = z.object({
  /** Chosen by the client; another id means another request. */
  id: z.string().check(z.minLength(1)),
  /** The run that the client displayed: the request is refused when a newer run has begun. */
  run: z.int().check(z.minimum(1)),
  /**
   * `output`: the answer is the end of a command's output. `check`: whether the changes of a worktree apply. `apply`: writes
   * them. `remove`: removes the worktree and its branch. `look`: updates records whose owner is gone. `timeline`: writes the timeline
   * of the whole session as a page; the answer names its file.
   */
  kind: z.enum([...REQUESTS, 'look', 'timeline']),
  /** The message for `continue`. */
  prompt: z.exactOptional(z.string()),
  answer: z.exactOptional(z.object({ ok: z.boolean(), text: z.string() })),
})

export type TaskRequest = z.infer<typeof requestSchema>
export type RequestReply = NonNullable<TaskRequest['answer']>

/** Reads the request in a session's metadata, answered or not. */
export function readRequest(
  metadata: { readonly [key: string]: unknown } | undefined,
): TaskRequest | undefined {
  const found = metadata?.[REQUEST_KEY]
  return found === undefined ? undefined : requestSchema.safeParse(found).data
}
