/**
 * Messages of a session, as callers of the manager read them. They have the shape that OpenCode stores, but not its types,
 * because those belong to one version of its SDK.
 */

/** A message of a task's session, with its parts in the order that the model reads. */
export interface TaskMessage {
  readonly info: MessageInfo
  readonly parts: readonly MessagePart[]
}

export type MessageInfo = {
  readonly id: string
  readonly sessionID: string
  /** Milliseconds since the Unix epoch. */
  readonly time: { readonly created: number; readonly completed?: number }
} & (
  | { readonly role: 'user' }
  | {
      readonly role: 'assistant'
      /** The newest user message that this message answers. */
      readonly parentID: string
      /** Why the model stopped, for example `stop`; absent while it answers. */
      readonly finish?: string
      readonly error?: { readonly name: string; readonly data?: unknown }
    }
)

export type MessagePart = {
  readonly id: string
  readonly sessionID: string
  readonly messageID: string
} & (
  | {
      readonly type: 'text'
      readonly text: string
      /** True for text that no person wrote. */
      readonly synthetic?: boolean
      /** True for text that no model reads. */
      readonly ignored?: boolean
    }
  | { readonly type: 'reasoning'; readonly text: string }
  | { readonly type: 'tool'; readonly tool: string; readonly callID: string; readonly state: ToolCallState }
  | { readonly type: 'file'; readonly url: string; readonly mime: string; readonly filename?: string }
  | {
      readonly type:
        | 'agent'
        | 'compaction'
        | 'patch'
        | 'retry'
        | 'snapshot'
        | 'step-finish'
        | 'step-start'
        | 'subtask'
    }
)

export type ToolCallState = { readonly input: Readonly<Record<string, unknown>> } & (
  | { readonly status: 'pending' }
  | { readonly status: 'running'; readonly title?: string }
  | {
      readonly status: 'completed'
      readonly title: string
      readonly output: string
      readonly metadata: Readonly<Record<string, unknown>>
    }
  | { readonly status: 'error'; readonly error: string }
)

/** A message that a model is about to read. Callers may push more parts onto it. */
export interface MessageToRead {
  readonly info: { readonly id: string; readonly sessionID: string }
  readonly parts: { readonly id: string }[]
}

/**
 * Whether a person may have written the part. Plugins' notices and OpenCode's own messages are marked as
 * synthetic. Texts for no model, such as a plugin's note to the user, are marked as ignored. A request for a summary is no
 * message to the model.
 */
export function isPersonal(part: object): boolean {
  const { type, synthetic, ignored } = part as {
    readonly type?: unknown
    readonly synthetic?: unknown
    readonly ignored?: unknown
  }
  return type !== 'compaction' && synthetic !== true && ignored !== true
}
