/**
 * OpenCode as a port: the calls and the types of OpenCode that this plugin uses. `calls.ts` makes the calls; the rest of
 * the server part uses OpenCode only through this file. The contract suite (tests/contract) shows what each call does.
 */
import type {
  Agent,
  Message,
  Part,
  PermissionRequest,
  PermissionRuleset,
  Session,
  SessionStatus,
  Event,
} from '@opencode-ai/sdk/v2'

export type {
  Agent,
  Event,
  Message,
  Part,
  PermissionRequest,
  PermissionRuleset,
  Session,
  SessionStatus,
} from '@opencode-ai/sdk/v2'

/** The client that OpenCode passes to a plugin. Only its parts are declared, because its types belong to one version. */
export interface Client {
  readonly app: object
  readonly config: object
  readonly session: object
  readonly tui: object
}

export interface NewSession {
  readonly parentID: string
  readonly title: string
  readonly permission: PermissionRuleset
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface TextPart {
  readonly id: string
  readonly text: string
  /** True for text that no person wrote: OpenCode's clients then do not show it as the user's. */
  readonly synthetic: boolean
}

export interface Prompt {
  /** Our own id, so that OpenCode stores the prompt once even if it is sent twice. Starts with `msg`. */
  readonly messageID: string
  /** Omitted: OpenCode switches the session to its default agent for good (contract 4.10). */
  readonly agent?: string
  /** Omitted: the agent's own model, else the session's. OpenCode does not keep the variant, so each prompt needs it. */
  readonly model?: { readonly providerID: string; readonly modelID: string; readonly variant?: string }
  /** A text that OpenCode appends to the system prompt of the turns that this message starts. */
  readonly system?: string
  readonly parts: readonly TextPart[]
}

export interface StoredMessage {
  readonly info: Message
  readonly parts: readonly Part[]
}

/** A configured provider, with its models by id. */
export interface Provider {
  readonly id: string
  readonly models: Readonly<Record<string, { readonly cost?: ModelCost }>>
}

/** US dollars for a million tokens. */
interface ModelCost {
  readonly input: number
  readonly output: number
}

/** Session id → status. Idle sessions are absent, and so are sessions that never started or are unknown. */
export type Statuses = Readonly<Record<string, SessionStatus>>

/** Every call rejects only with a `HostError`. */
export interface Opencode {
  agents(): Promise<readonly Agent[]>
  providers(): Promise<readonly Provider[]>
  /** The tools that the user reserves for primary agents (`experimental.primary_tools`). */
  primaryTools(): Promise<readonly string[]>
  /** The entries of the option `plugin`: a name or a path, or a pair of it and the plugin's options. */
  plugins(): Promise<readonly unknown[]>
  createSession(session: NewSession): Promise<Session>
  session(sessionID: string): Promise<Session>
  /** Returns the child sessions of a session. */
  children(sessionID: string): Promise<readonly Session[]>
  /** Replaces the whole metadata object of the session. */
  replaceMetadata(sessionID: string, metadata: Readonly<Record<string, unknown>>): Promise<void>
  /** Resolves when OpenCode has accepted the message, which does not prove that a turn follows. */
  prompt(sessionID: string, prompt: Prompt): Promise<void>
  /** Leaves a message for people, which no model answers or reads. */
  leaveMessage(sessionID: string, text: string): Promise<void>
  /** Resolves when the session's turn has stopped. Its children keep running. */
  abort(sessionID: string): Promise<void>
  /** Returns the open permission requests of all sessions, also of included directories. */
  permissions(): Promise<readonly PermissionRequest[]>
  /**
   * With a message, the model reads it and continues; without one its turn ends (contract 8.2).
   *
   * @param at the directory of its session, unless that is our own
   */
  rejectPermission(requestID: string, message?: string, at?: string): Promise<void>
  /**
   * Returns all messages of a session, the oldest first. The cost grows with their size.
   *
   * @param firstPage how many messages the first call asks for; by default few, because they show how large messages are
   */
  messages(sessionID: string, firstPage?: number): Promise<readonly StoredMessage[]>
  /** Returns the newest messages of a session, the oldest of them first. */
  newestMessages(sessionID: string, count: number): Promise<readonly StoredMessage[]>
  /** Returns the statuses of our directory and of included ones. */
  statuses(): Promise<Statuses>
  /**
   * Includes another directory, in which OpenCode has another instance (contract 9.1), in `statuses` and `permissions`, until
   * the function returned is called.
   */
  include(directory: string): () => void
  /** Moves an idle session to another directory of its project: its turns work there from now on (contract 17.1). */
  moveSession(sessionID: string, directory: string): Promise<void>
  /** Ends OpenCode's instance of another directory; the next call there makes another one (contract 9.2, 17.3). */
  endInstance(directory: string): Promise<void>
  /**
   * Passes the events of the directory to `onEvent`, in their order and beginning with `server.connected`. Resolves
   * when OpenCode ends the stream, or at the abort of `signal`. Rejects when the stream is refused, or has broken.
   *
   * @param at another directory than our own
   */
  events(onEvent: (event: Event) => void, signal: AbortSignal, at?: string): Promise<void>
  /** Opens and closes a terminal in this directory, so that OpenCode calls the hooks `shell.env` (e2e/command-rows). */
  callShellHooks(cwd: string): Promise<void>
  log(level: 'info' | 'warn', message: string): Promise<void>
  /** Shows a warning in the terminal UIs that are open. */
  warn(message: string): Promise<void>
}

/**
 * Why a call of OpenCode failed: `notFound` (the session does not exist), `unauthorized` (the server has a password, and
 * the client has none or a wrong one), `refused` (OpenCode answered with another error), `noAnswer` (OpenCode did not
 * answer within the limit, or could not be reached).
 */
export class HostError extends Error {
  readonly reason: 'notFound' | 'unauthorized' | 'refused' | 'noAnswer'

  constructor(reason: HostError['reason'], message: string) {
    super(message)
    this.name = 'HostError'
    this.reason = reason
  }

  /** Recognizes the instances of each bundle: a lazily loaded one has its own copy of this class. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && value.name === 'HostError'
  }
}

/** Returns the text of an error of OpenCode, whose shapes vary (contract 3.4). */
export function errorText(error: unknown): string {
  if (typeof error === 'string') return error
  if (typeof error !== 'object' || error === null) return String(error)
  if ('data' in error && typeof error.data === 'object' && error.data !== null && 'message' in error.data) {
    return String(error.data.message)
  }
  if ('message' in error && typeof error.message === 'string') return error.message
  if ('name' in error) return String(error.name)
  return JSON.stringify(error)
}
