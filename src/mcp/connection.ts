/**
 * Represents one connection: the capabilities and roots of its client, and the permissions that its user grants. In MCP of
 * 2026-07-28 a handler cannot call the client. It throws a `Question`, which the server returns as the result, and the client
 * repeats the call with the answer. For older clients the SDK sends the question as a request.
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
import { judge, type Rule } from './permission-rules.ts'
import { Roots } from './roots.ts'
import type { McpCaller } from './workplace.ts'

/** A question to the client. The call cannot continue until the client repeats it with the answer. */
export class Question extends Error {
  /** The key of the answer. */
  readonly key: string
  readonly request: InputRequest
  /** Holds the earlier answers of the call. The client returns it with the next answer, because it sends each answer only once. */
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
  /** The roots of a client from before 2026, once it has named them. Newer clients send them with each call. */
  #roots: Roots | undefined

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Makes the next call ask for the roots again. */
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
      // A function, because only some calls need the roots, and each question costs a round trip.
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
        // A failure means that the client is gone.
        notify({ method: 'notifications/progress', params }).catch(() => {})
      },
    }
  }

  async #askForRoots(answers: Answers, context: ServerContext): Promise<Roots> {
    const uris = this.capabilities(context)?.roots ? await this.#rootsOfClient(answers, context) : []
    return Roots.of(this.#ports.root, uris)
  }

  /** Returns the roots that the client names; none if it fails to name them. */
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

/** Returns the option or setting that can allow a permission. `--allow` takes only patterns of commands. */
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

/** Whether a client can fill in forms: it supports elicitation without a mode, or with the mode `form`. */
function canFillForms({ elicitation }: ClientCapabilities = {}): boolean {
  return elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined)
}
