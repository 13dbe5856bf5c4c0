/** Builds the fake host's requests of the scripted model from a session, and logs them. */
import type { PermissionRuleset, Session, StoredMessage } from '../../src/host/opencode.ts'
import { sinceCompaction } from './fake-compaction.ts'
import type { ModelRequest, Reply, Script, ToolCall } from './script.ts'

export interface FakeRequest extends ModelRequest {
  /** `closed`: the run was aborted before the answer arrived. */
  readonly outcome: 'open' | 'answered' | 'closed'
}

type Writable<Type> = { -readonly [Field in keyof Type]: Type[Field] }
type Line = ModelRequest['messages'][number]

export class FakeModel {
  script: Script
  /** The call that a session's model makes upon the next user message, whatever the script says. */
  readonly nextCalls = new Map<string, readonly ToolCall[]>()
  readonly #requests: Writable<FakeRequest>[] = []

  constructor(script: Script) {
    this.script = script
  }

  /** The requests, oldest first. */
  get requests(): readonly FakeRequest[] {
    return this.#requests
  }

  /** Asks the script. A script that throws fails the turn, as in the real harness. */
  async ask(request: ModelRequest, signal: AbortSignal): Promise<Reply> {
    const logged: Writable<FakeRequest> = { ...request, outcome: 'open' }
    this.#requests.push(logged)
    const onAbort = (): void => {
      if (logged.outcome === 'open') logged.outcome = 'closed'
    }
    signal.addEventListener('abort', onAbort)
    try {
      const reply = this.#nextCall(request) ?? (await this.script(request))
      if (logged.outcome === 'open') logged.outcome = 'answered'
      return reply
    } catch (error) {
      return { status: 400, text: `The test's script threw: ${String(error)}` }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #nextCall({ sessionID, messages }: ModelRequest): Reply | undefined {
    const tools = messages.at(-1)?.role === 'user' ? this.nextCalls.get(sessionID) : undefined
    if (!tools) return undefined
    this.nextCalls.delete(sessionID)
    return { tools }
  }
}

/** Returns the model request of a session. */
export function requestOf(
  session: Session,
  stored: readonly StoredMessage[],
  tools: readonly string[],
  modelID: string,
): ModelRequest {
  const messages = [
    { role: 'system' as const, content: 'You are the fake host.' },
    ...sinceCompaction(stored).flatMap(linesOf),
  ]
  return {
    sessionID: session.id,
    parentSessionID: session.parentID,
    messages,
    tools: offered(tools, session.permission ?? []),
    model: modelID,
  }
}

function linesOf({ info, parts }: StoredMessage): Line[] {
  if (parts.some((part) => part.type === 'compaction'))
    return [{ role: 'user', content: 'What did we do so far?' }]
  const text = parts.map((part) => (part.type === 'text' && !part.ignored ? part.text : '')).join('')
  if (info.role === 'user') return parts.length > 0 ? [{ role: 'user', content: text }] : []
  const tools = parts.filter((part) => part.type === 'tool')
  // Leave out failed turns, and those aborted before their first output.
  if (info.error !== undefined && info.error.name !== 'MessageAbortedError') return []
  if (text === '' && tools.length === 0) return []
  const results = tools.map(({ state }): Line => {
    if (state.status === 'completed') return { role: 'tool', content: state.output }
    const interrupted = '[Tool execution was interrupted]'
    return { role: 'tool', content: state.status === 'error' ? state.error : interrupted }
  })
  return [{ role: 'assistant', content: text }, ...results]
}

/** Removes each tool whose last matching rule denies it altogether (contract 8.5). */
function offered(tools: readonly string[], rules: PermissionRuleset): string[] {
  return tools.filter((tool) => {
    const permission = tool === 'write' ? 'edit' : tool
    const rule = rules.findLast((each) => each.permission === '*' || each.permission === permission)
    return !(rule?.action === 'deny' && rule.pattern === '*')
  })
}
