/**
 * Defines the answers of a scripted model. One script drives both the real OpenCode (through the HTTP server
 * in model.ts) and the fake host, so that one contract suite compares the two.
 */
export interface ModelRequest {
  /** The session of the request. */
  readonly sessionID: string
  readonly parentSessionID: string | undefined
  /** The conversation as the model receives it, each content flattened to text. */
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
  /** Answers with this HTTP status instead, with `text` as the error's message. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** The reported prompt tokens; 10 by default. */
  readonly promptTokens?: number
  /** US dollars of the answer, on the fake host alone: OpenCode itself computes them of its prices. */
  readonly cost?: number
  /**
   * Sends the text, then closes the connection without a finish reason: at the given moment, or soon (`true`), when a busy
   * OpenCode may not have read the text yet.
   */
  readonly cut?: boolean | Promise<void>
}

/** Answers a request; may be slow (resolve later) or hang (never resolve). */
export type Script = (request: ModelRequest) => Reply | Promise<Reply>
