/** Names the tool call by which a parent's model reads a task. */

/** A tool call that reads a task: OpenCode passes it in the second argument of `execute`. */
export interface Reader {
  /** The session in which the tool is called. */
  readonly sessionID: string
  readonly callID: string
  /** The message that holds the call, because some models reuse a call id in several messages. */
  readonly messageID?: string | undefined
}

/** Returns the reader that a tool's context describes; `undefined` if OpenCode gives no call id. */
export function readerOf(context: {
  readonly sessionID: string
  readonly messageID: string
}): Reader | undefined {
  const { sessionID, messageID } = context
  // OpenCode passes `callID`, but its types lack it (contract 11.2).
  const { callID } = context as { readonly callID?: unknown }
  return typeof callID === 'string' ? { sessionID, messageID, callID } : undefined
}
