/** Names the tool call by which a parent's model reads a task. */

/** A tool call that reads: OpenCode tells a tool of it in the second argument of `execute`. */
export interface Reader {
  /** The session in which the tool is called. */
  readonly sessionID: string
  readonly callID: string
  /** The message that holds the call. Some models give the same id to calls of several messages. */
  readonly messageID?: string | undefined
}

/** The reader that the context of a tool describes. `undefined` where OpenCode names no call. */
export function readerOf(context: {
  readonly sessionID: string
  readonly messageID: string
}): Reader | undefined {
  const { sessionID, messageID } = context
  // OpenCode passes it on, and its types do not have it (contract 11.2).
  const { callID } = context as { readonly callID?: unknown }
  return typeof callID === 'string' ? { sessionID, messageID, callID } : undefined
}
