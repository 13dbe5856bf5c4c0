/**
 * What a scripted model answers. One script drives both the real OpenCode (through the HTTP server in model.ts)
 * and the fake host, so that one contract suite can hold the two side by side.
 */
export interface ModelRequest {
  /** The session that asks. */
  readonly sessionID: string
  readonly parentSessionID: string | undefined
  /** The conversation as the model sees it, the content of each message flattened to text. */
  readonly messages: readonly {
    readonly role: 'system' | 'user' | 'assistant' | 'tool'
    readonly content: string
  }[]
  /** The names of the tools on offer. */
  readonly tools: readonly string[]
  /** The model's id. */
  readonly model: string
}

export interface ToolCall {
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
}

export interface Reply {
  readonly text?: string
  readonly reasoning?: string
  readonly tools?: readonly ToolCall[]
  /** Default: `tool_calls` with tools, else `stop`. */
  readonly finish?: string
  /** Answer with this HTTP status instead, `text` as the error's message. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** What the request is said to have taken; 10 by default. */
  readonly promptTokens?: number
  /** Send the text, then close the connection without a finish reason. */
  readonly cut?: boolean
}

/** May be slow (resolve later) or hang (never resolve). */
export type Script = (request: ModelRequest) => Reply | Promise<Reply>
