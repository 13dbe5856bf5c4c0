/**
 * Represents one connection: the capabilities and roots of its client, and the permissions that its user grants. A handler
 * cannot call the client (MCP of 2026-07-28 has no such channel). It throws a `Question`, which the server returns as the
 * result; the client repeats the call with the answer. For older clients the SDK asks over their own channel.
 */
import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  inputRequired,
  inputResponse,
  type ClientCapabilities,
  type InputRequest,
  type Root,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import * as z from 'zod/mini'
import { escapeControls } from '../text/sanitize.ts'
import { ToolError } from '../tool-error.ts'
import { judge, type Rule } from './permissions.ts'
import { Roots } from './roots.ts'
import type { McpCaller } from './tools.ts'

/** A question to the client, without whose answer a call cannot continue. */
export class Question extends Error {
  /** Under which the client returns the answer. */
  readonly key: string
  readonly request: InputRequest
  /** Returned by the client with the answer, because it returns the answers to earlier questions of a call only once. */
  readonly state: string

  constructor(key: string, request: InputRequest, answers: Answers) {
    super(key)
    this.key = key
    this.request = request
    this.state = JSON.stringify(answers)
  }
}

/** The answers of a client in one call: `accepted` has the keys of the questions that its user has accepted. */
const answersSchema = z.object({ accepted: z.array(z.string()), roots: z.optional(z.array(z.string())) })

type Answers = z.infer<typeof answersSchema>

/** A permission request of a tool, as in OpenCode. */
interface Permission {
  readonly permission: string
  readonly patterns: readonly string[]
}

interface Ports {
  readonly server: Server
  /** The outer bound of working directories, a real path. */
  readonly root: string
}

const ROOTS = 'roots'
const ROOTS_WITHIN_MS = 5000

export class Connection {
  readonly #ports: Ports
  /** `undefined` until a client of before 2026 has named them; later ones name them in each call, and no change of them. */
  #roots: Roots | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Asks for the roots again at the next call. */
  rootsChanged(): void {
    this.#roots = undefined
  }

  capabilities(context: ServerContext): ClientCapabilities | undefined {
    // The types of the envelope name none of its keys.
    const envelope = context.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined
    const own = envelope?.[CLIENT_CAPABILITIES_META_KEY] as ClientCapabilities | undefined
    return own ?? this.#ports.server.getClientCapabilities()
  }

  /** Returns the name of the client. */
  client(context: ServerContext): string {
    const envelope = context.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined
    const own = envelope?.[CLIENT_INFO_META_KEY] as { readonly name?: string } | undefined
    return own?.name ?? this.#ports.server.getClientVersion()?.name ?? 'a client'
  }

  caller(context: ServerContext): McpCaller {
    const { root } = this.#ports
    const { notify, signal, _meta } = context.mcpReq
    const progressToken = _meta?.progressToken
    const answers = answersOf(context)
    const askBy = (rules: () => Promise<readonly Rule[]>) => async (request: Permission) =>
      this.#ask(request, await rules(), answers, context)
    return {
      sessionID: '',
      messageID: '',
      directory: root,
      worktree: root,
      abort: signal,
      // Asked for by the calls that need them: a client cannot be asked in every request.
      roots: async () =>
        context.mcpReq.envelope
          ? this.#askForRoots(answers, context)
          : (this.#roots ??= await this.#askForRoots(answers, context)),
      client: this.client(context),
      askBy,
      ask: askBy(() => Promise.resolve([])),
      progress: (progress, total, message) => {
        if (progressToken === undefined) return
        const params = { progressToken, progress, total, message }
        // A client that has gone needs no progress.
        notify({ method: 'notifications/progress', params }).catch(() => {})
      },
    }
  }

  async #askForRoots(answers: Answers, context: ServerContext): Promise<Roots> {
    const uris = this.capabilities(context)?.roots ? await this.#rootsOfClient(answers, context) : []
    return Roots.of(this.#ports.root, uris)
  }

  /** Resolves with none for a client that fails to name them. */
  async #rootsOfClient(
    answers: Answers,
    { mcpReq: { envelope, inputResponses } }: ServerContext,
  ): Promise<readonly string[]> {
    // The SDK would fail the call of an older client that fails to name them.
    if (!envelope) {
      const listed = this.#ports.server.listRoots(undefined, { timeout: ROOTS_WITHIN_MS })
      return listed.then(({ roots }) => urisOf(roots)).catch(() => [])
    }
    if (answers.roots) return answers.roots
    const answer = inputResponse(inputResponses, ROOTS)
    if (answer.kind === 'missing') throw new Question(ROOTS, inputRequired.listRoots(), answers)
    answers.roots = answer.kind === 'roots' ? urisOf(answer.roots) : []
    return answers.roots
  }

  /** Rejects with a `ToolError` where the rules or the user refuse, and with a `Question` where the user must be asked. */
  async #ask(
    { permission, patterns }: Permission,
    rules: readonly Rule[],
    answers: Answers,
    context: ServerContext,
  ): Promise<void> {
    const judged = (action: string): readonly string[] =>
      patterns.filter((pattern) => judge(rules, permission, pattern) === action)
    const denied = judged('deny')
    if (denied.length > 0)
      throw new ToolError(
        `The rules of this server deny ${permission}: ${denied.join(', ')}. Nothing was started.`,
      )
    const open = judged('ask')
    if (open.length === 0) return
    const what = `${permission}: ${open.join(', ')}`
    if (!canFillForms(this.capabilities(context)))
      throw new ToolError(
        `The rules of this server ask for ${what}, and this client cannot ask its user. Nothing was started. ` +
          `The user can allow it ${whereToAllow(permission)}.`,
      )
    const key = `${permission} ${open.join('\n')}`
    if (answers.accepted.includes(key)) return
    const answer = inputResponse(context.mcpReq.inputResponses, key)
    if (answer.kind !== 'elicit') {
      const message = `Allow this once? ${escapeControls(what)}`
      const requestedSchema = { type: 'object' as const, properties: {} }
      throw new Question(key, inputRequired.elicit({ message, requestedSchema }), answers)
    }
    if (answer.action !== 'accept')
      throw new ToolError(`The user did not allow ${what}. Nothing was started.`)
    answers.accepted.push(key)
  }
}

function answersOf({ mcpReq }: ServerContext): Answers {
  try {
    return answersSchema.parse(JSON.parse(mcpReq.requestState<string>() ?? ''))
  } catch {
    // This is the first round, or the state is not ours.
    return { accepted: [] }
  }
}

function urisOf(roots: readonly Root[]): string[] {
  return roots.map(({ uri }) => uri)
}

/** Names what allows a permission: --allow has patterns of commands alone, and OpenCode has rules for its agents. */
function whereToAllow(permission: string): string {
  switch (permission) {
    case 'bash':
      return 'with --allow, or in the file of --config'
    case 'task':
      return 'in the configuration of OpenCode'
    default:
      return `by "${permission}" in the "permission" of the file of --config`
  }
}

/** A client that names no mode of elicitation can fill forms; one that names only the others cannot. */
function canFillForms({ elicitation }: ClientCapabilities = {}): boolean {
  return elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined)
}
