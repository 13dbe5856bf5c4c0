/**
 * A stage for end-to-end tests: one real OpenCode with our plugin, and parents whose model does as it is told.
 * What a test asserts on is what the scripted model received.
 */
import { startModel, type LoggedRequest, type ScriptedModel } from './model.ts'
import { buildPlugin } from './plugin.ts'
import type { ModelRequest, Reply, Script, ToolCall } from './script.ts'
import {
  startOpencode,
  type OpencodeOptions,
  type OpencodeServer,
  type Project,
  type PromptOptions,
} from './server.ts'
import type { WaitOptions } from './spy.ts'

export interface Stage {
  readonly server: OpencodeServer
  readonly model: ScriptedModel
  /**
   * Creates a parent session, with what the host takes for it; `child` answers for all its children. In the server's
   * own project, unless another is given.
   */
  parent(child?: Script, session?: Readonly<Record<string, unknown>>, project?: Project): Promise<Parent>
  /** Another process in the same home, on the same project. */
  second(): Promise<OpencodeServer>
  /** Ends OpenCode by a signal, and starts it again in the same home. */
  restart(signal: NodeJS.Signals): Promise<void>
  close(): Promise<void>
}

export interface Parent {
  readonly id: string
  /** The requests of the parent's own model, the oldest first. */
  readonly requests: readonly LoggedRequest[]
  /** The requests of its children's model. */
  readonly childRequests: readonly LoggedRequest[]
  /** The requests that were made because a notice had come. */
  readonly noticeTurns: readonly LoggedRequest[]
  /** All that its model has read of notices so far, each text once. */
  readonly noticeText: string
  /** A user message upon which the parent's model makes these calls at once; resolves with what each returned. */
  call(calls: readonly ToolCall[], options?: PromptOptions): Promise<readonly string[]>
  /** `background_task` for each description; the prompt is the description too. Resolves with the task ids. */
  launch(...descriptions: readonly string[]): Promise<readonly string[]>
  /** A message of the user's; resolves when its turn has been taken, and all is quiet besides its children. */
  say(text: string, options?: PromptOptions): Promise<void>
  /** Resolves when the parent's model was asked with this text in a notice. */
  waitForNotice(text: string, options?: WaitOptions): Promise<LoggedRequest>
  /** Resolves when it is idle, and nothing has been asked of its model or its children's for a while. */
  quiet(): Promise<void>
  /** The same, but its children may be at work. */
  quietBesidesChildren(): Promise<void>
}

export interface StageOptions extends Omit<OpencodeOptions, 'model' | 'plugins'> {
  /** The options of our plugin. */
  readonly options?: object
  /** Instead of the built plugin. */
  readonly plugins?: OpencodeOptions['plugins']
}

/** OpenCode may add reminders of its own behind a user's text, as for the agent `plan`. */
const CALL = /^CALL (.*) END/s
const QUIET_MS = 600

export async function startStage({ options = {}, plugins, ...rest }: StageOptions = {}): Promise<Stage> {
  const children = new Map<string, Script>()
  /** Child → parent: the host leaves the parent out of the request for a child's summary (seen). */
  const parentOfChild = new Map<string, string>()
  const model = await startModel((request) => {
    const { sessionID, parentSessionID } = request
    if (parentSessionID !== undefined) parentOfChild.set(sessionID, parentSessionID)
    const parentID = parentOfChild.get(sessionID)
    if (parentID === undefined) return obey(request)
    return (children.get(parentID) ?? (() => ({ text: 'done' })))(request)
  })
  const settings = { model, plugins: plugins ?? [[await buildPlugin(), options] as const], ...rest }
  let server = await startOpencode(settings)

  return {
    get server() {
      return server
    },
    model,
    async parent(child, session, project) {
      const { id } = await (project ?? server).createSession(session)
      if (child) children.set(id, child)
      return parentOf(id, () => project ?? server, model)
    },
    second: () => startOpencode({ ...settings, home: server.home }),
    async restart(signal) {
      const { home } = server
      await server.stop({ signal, keepHome: true })
      server = await startOpencode({ ...settings, home })
    },
    async close() {
      await server.stop()
      await model.close()
    },
  }
}

/** A model that calls what the user's message tells it to call, and has nothing to say to anything else. */
export function obey({ messages }: ModelRequest): Reply {
  const last = messages.at(-1)
  const calls = last?.role === 'user' ? CALL.exec(last.content)?.[1] : undefined
  return calls === undefined ? { text: 'Noted.' } : { tools: JSON.parse(calls) as ToolCall[] }
}

function parentOf(id: string, project: () => Project, model: ScriptedModel): Parent {
  async function quiet(requests: () => readonly LoggedRequest[]): Promise<void> {
    for (;;) {
      await project().waitForIdle(id)
      const before = requests().length
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
      if (requests().length === before && requests().every(({ outcome }) => outcome !== 'open')) return
    }
  }

  const parent: Parent = {
    id,
    get requests() {
      return model.requestsOf(id)
    },
    get childRequests() {
      return model.requests.filter((request) => request.parentSessionID === id)
    },
    get noticeTurns() {
      return parent.requests.filter((request) => isNotice(request.messages.at(-1)))
    },
    get noticeText() {
      return (parent.requests.at(-1)?.messages ?? [])
        .filter(isNotice)
        .map((message) => message.content)
        .join('\n')
    },
    async call(calls, options) {
      const before = parent.requests.length
      await project().prompt(id, `CALL ${JSON.stringify(calls)} END`, options)
      const answered = await model.waitForRequest(
        (request) =>
          request.sessionID === id &&
          parent.requests.indexOf(request) > before &&
          toolResults(request).length > 0,
        { description: `the results of ${calls.map((call) => call.name).join(', ')}` },
      )
      return toolResults(answered).slice(-calls.length)
    },
    async say(text, options) {
      const before = parent.requests.length
      await project().prompt(id, text, options)
      await model.waitForRequest(() => parent.requests.length > before, {
        description: `a turn on "${text}"`,
      })
      await parent.quietBesidesChildren()
    },
    async launch(...descriptions) {
      const outputs = await parent.call(descriptions.map((description) => backgroundTask(description)))
      return outputs.map((output) => /bg_[0-9a-f]{8}/.exec(output)?.[0] ?? output)
    },
    waitForNotice(text, options) {
      return model.waitForRequest(
        (request) =>
          request.sessionID === id &&
          request.messages.some((message) => isNotice(message) && message.content.includes(text)),
        { description: `a notice with "${text}"`, ...options },
      )
    },
    quiet: () => quiet(() => [...parent.requests, ...parent.childRequests]),
    quietBesidesChildren: () => quiet(() => parent.requests),
  }
  return parent
}

/** A call of `background_task` for the agent `general`. */
export function backgroundTask(description: string, changes: object = {}): ToolCall {
  return { name: 'background_task', args: { description, prompt: description, agent: 'general', ...changes } }
}

function toolResults({ messages }: ModelRequest): readonly string[] {
  // A notice may have come behind the results, in the same step.
  const asked = messages.findLastIndex(({ role, content }) => role === 'user' && CALL.test(content))
  return messages.slice(asked).flatMap(({ role, content }) => (role === 'tool' ? [content] : []))
}

function isNotice(message: ModelRequest['messages'][number] | undefined): boolean {
  return message?.role === 'user' && message.content.includes('<background_task ')
}
