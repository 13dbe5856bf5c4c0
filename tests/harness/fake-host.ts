/**
 * OpenCode in memory, for fast tests: the port `Opencode` over sessions that run on a test's clock with a scripted
 * model. Honest as far as the contract suite goes (tests/contract), which runs against it and the real binary.
 *
 * A call of the port settles without time passing, except an abort, which waits until the run has stopped. What
 * follows from a call (a message stored, a turn, its end) takes milliseconds of the clock, as it does for real.
 */
import type { Clock } from '../../src/clock.ts'
import {
  HostError,
  type Agent,
  type Event,
  type Message,
  type NewSession,
  type Opencode,
  type PermissionRequest,
  type Part,
  type Prompt,
  type Provider,
  type Session,
  type SessionStatus,
  type StoredMessage,
} from '../../src/host/opencode.ts'
import { unknownError, type UserMessage } from './fake-answer.ts'
import { FakeFaults } from './fake-faults.ts'
import { FakeModel, type FakeRequest } from './fake-model.ts'
import { FakeRun, pause, Refused, type RunHost, type ToolOutput } from './fake-run.ts'
import { FakeStore, type Emit } from './fake-store.ts'
import type { Script, ToolCall } from './script.ts'

type Method = keyof Opencode
type ModelOfUser = UserMessage['model']

/** How the user's client would send a message. */
export interface UserPromptOptions {
  readonly agent?: string
  readonly model?: ModelOfUser
  /** Stores the message, and starts no turn. */
  readonly noReply?: boolean
}

/** From a prompt's being accepted to its message's being stored; the prompts of a session take turns. */
const STORE_MS = 4
/** So many parts of a message are stored at once, and then something else has its turn. */
const PARTS_AT_ONCE = 40
const DEFAULT_MODEL: ModelOfUser = { providerID: 'mock', modelID: 'm1' }

export class FakeHost {
  readonly opencode: Opencode
  /** Every call of the port, also those that were made to fail. */
  readonly calls: { readonly method: Method; readonly sessionID?: string }[] = []
  /** What is asked of the user, and not answered; it survives an abort (contract 6.5). */
  readonly permissions: PermissionRequest[] = []
  readonly rejections: { readonly id: string; readonly message: string | undefined }[] = []
  /** What was logged through the port. */
  readonly logged: { readonly level: string; readonly message: string }[] = []
  /** While set, events are lost. */
  muteEvents = false
  /** After how many milliseconds an event is told, once for each number: none loses it, two tell it twice. */
  eventDelays: (event: Event) => readonly number[] = () => [0]
  /** The tools that the model is offered unless a session's rules deny them. */
  toolNames = ['bash', 'edit', 'glob', 'grep', 'question', 'read', 'skill', 'task', 'todowrite', 'write']
  /** What a tool answers; may hang, and throws for a tool that fails. */
  runTool: (call: ToolCall, sessionID: string, callID: string) => ToolOutput | Promise<ToolOutput> = () =>
    'ok'
  /** Sees the metadata of each tool call that is stored as completed. */
  onToolStored: (metadata: Record<string, unknown>) => void = () => {}
  /** The hook that sees each message before it is stored, and may add to its parts. */
  onChatMessage: (
    sessionID: string,
    message: { message: UserMessage; parts: object[] },
  ) => void | Promise<void> = () => {}
  /** The hook that sees what a model is about to read of a session, and may add to it. */
  onMessagesRead: (messages: { info: Message; parts: Part[] }[]) => void = () => {}
  agents: Agent[] = [
    agent('build', 'primary'),
    agent('plan', 'primary'),
    agent('general', 'subagent'),
    agent('explore', 'subagent'),
  ]
  /** Known models, as `provider/model`. */
  readonly models = new Set(['mock/m1', 'mock/m2', 'mock/m3'])

  readonly #clock: Clock
  readonly #store: FakeStore
  readonly #faults: FakeFaults
  readonly #model: FakeModel
  readonly #listeners = new Set<(event: Event) => void>()
  readonly #statuses = new Map<string, SessionStatus>()
  readonly #runs = new Map<string, FakeRun>()
  readonly #lastStored = new Map<string, Promise<void>>()
  readonly #runHost: RunHost
  readonly #waitingTools = new Map<
    string,
    { readonly resolve: () => void; readonly reject: (error: Error) => void }
  >()
  /** What the calls do that `toolCall` has made. */
  readonly #toolWork = new WeakMap<ToolCall, (callID: string) => ToolOutput | Promise<ToolOutput>>()
  #promptsToSwallow = 0
  /** Counts the processes that were this host, one after another. */
  #lives = 1

  constructor(clock: Clock, script: Script = () => ({ text: 'ok' })) {
    this.#clock = clock
    this.#store = new FakeStore(clock, this.#emit)
    this.#faults = new FakeFaults(clock)
    this.#model = new FakeModel(script)
    this.#runHost = this.#createRunHost()
    this.opencode = this.#createPort()
  }

  /** May be replaced at any time. */
  get script(): Script {
    return this.#model.script
  }

  set script(script: Script) {
    this.#model.script = script
  }

  /** What the model was asked, the oldest first. */
  get modelRequests(): readonly FakeRequest[] {
    return this.#model.requests
  }

  /** Listens to all sessions, as a plugin's event hook does. Returns how to stop. */
  onEvent(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Makes a session without a parent, as the user does. */
  createRootSession(fields: Partial<Session> = {}): Session {
    return this.#store.createSession({ title: 'Root', ...fields })
  }

  /** What is stored of a session. Throws a `HostError` when it is unknown. */
  session(sessionID: string): Session {
    return structuredClone(this.#store.session(sessionID))
  }

  messagesOf(sessionID: string): readonly StoredMessage[] {
    return structuredClone(this.#store.messages(sessionID))
  }

  /** Writes as the user, and returns the id of the message. */
  userPrompt(sessionID: string, text: string, options: UserPromptOptions = {}): string {
    const messageID = this.#store.newID('msg')
    const part = { id: this.#store.newID('prt'), text, synthetic: false }
    this.#accept(sessionID, { messageID, parts: [part], ...options })
    return messageID
  }

  /** A call of a tool that does this, for a script to reply with. */
  toolCall(work: (callID: string) => ToolOutput | Promise<ToolOutput>): ToolCall {
    const call = { name: 'tool', args: {} }
    this.#toolWork.set(call, work)
    return call
  }

  /** Writes as the user, upon which the session's model calls a tool that does this, whatever the script says. */
  callTool(sessionID: string, work: (callID: string) => ToolOutput | Promise<ToolOutput>): void {
    this.#model.nextCalls.set(sessionID, this.toolCall(work))
    this.userPrompt(sessionID, 'call a tool')
  }

  /** Presses ESC. Resolves when the run has stopped. */
  userAbort(sessionID: string): Promise<void> {
    return this.#abort(sessionID)
  }

  /**
   * Undoes a message and all after it, as /undo does. They stay until the next prompt (contract 4.15). Throws a
   * `HostError` while the session is busy.
   */
  userRevert(sessionID: string, messageID: string): void {
    if (this.isBusy(sessionID)) throw new HostError('refused', `Session is busy: ${sessionID}`)
    this.#store.updateSession(sessionID, { revert: { messageID } })
  }

  /** Takes an undo back, as /redo does. */
  userUnrevert(sessionID: string): void {
    const { revert: _, ...session } = this.#store.session(sessionID)
    this.#store.replaceSession(session)
  }

  /** Puts a session into the archive, or takes it out, which leaves a 0 (seen). */
  userArchive(sessionID: string, isArchived: boolean): void {
    const { time } = this.#store.session(sessionID)
    this.#store.updateSession(sessionID, { time: { ...time, archived: isArchived ? this.#clock.now() : 0 } })
  }

  /** Whether a turn runs in a session. */
  isBusy(sessionID: string): boolean {
    return this.#runs.has(sessionID)
  }

  /** The ids of all sessions. */
  get sessionIDs(): readonly string[] {
    return [...this.#store.all].map(({ id }) => id)
  }

  /** Deletes a session and its children, and stops nothing (contract 1.11). */
  deleteSession(sessionID: string): void {
    this.#store.deleteSession(sessionID)
  }

  /** Ends as after kill -9: nothing runs any more, nobody listens, and what is stored stays as it is. */
  crash(): void {
    this.endInstance()
    this.#faults.kill()
  }

  /** An instance that is to end stops what runs, some time before it says so (contract 9.4). */
  abortAll(): void {
    for (const sessionID of this.#runs.keys()) void this.#abort(sessionID)
  }

  /** Ends an instance, as a change of the configuration does; the process, and the calls on their way, go on. */
  endInstance(): void {
    for (const run of this.#runs.values()) run.kill()
    this.#runs.clear()
    this.#statuses.clear()
    this.#listeners.clear()
    this.permissions.length = 0
    this.onChatMessage = () => {}
    this.onMessagesRead = () => {}
    this.#lives += 1
    this.#lastStored.clear()
  }

  /** Forgets the faults that were planned and have not happened. */
  clearFaults(): void {
    this.#faults.clear()
    this.#promptsToSwallow = 0
  }

  /** How long each call, and each answer, is on its way; none by default. */
  get latencyMs(): () => number {
    return this.#faults.latencyMs
  }

  set latencyMs(latencyMs: () => number) {
    this.#faults.latencyMs = latencyMs
  }

  /** Makes the next call of a method reject. */
  failNext(method: Method, error = new HostError('refused', `OpenCode refused ${method}`)): void {
    this.#faults.plan(method, { kind: 'fail', error })
  }

  /** Makes the next call of a method have no effect, and reject as unanswered when its time is up. */
  hangNext(method: Method): void {
    this.#faults.plan(method, { kind: 'hang' })
  }

  /** Lets the next call of a method take effect, and reject as unanswered when its time is up. */
  loseNextAnswer(method: Method): void {
    this.#faults.plan(method, { kind: 'loseAnswer' })
  }

  /** Lets the next prompt be accepted without any consequence, as after a throw in `chat.message` (contract 1.13). */
  swallowNextPrompt(): void {
    this.#promptsToSwallow++
  }

  readonly #emit: Emit = (type, properties) => {
    if (this.muteEvents) return
    const event = structuredClone({ id: this.#store.newID('evt'), type, properties }) as Event
    for (const delayMs of this.eventDelays(event)) {
      for (const listener of this.#listeners) {
        if (delayMs === 0) queueMicrotask(() => listener(event))
        else
          this.#clock.after(delayMs, () => {
            if (this.#listeners.has(listener)) listener(event)
          })
      }
    }
  }

  #createPort(): Opencode {
    const call = <Result>(
      method: Method,
      sessionID: string | undefined,
      run: () => Result | Promise<Result>,
    ) => {
      this.calls.push({ method, ...(sessionID !== undefined && { sessionID }) })
      return this.#faults.call(method, run)
    }
    return {
      agents: () => call('agents', undefined, () => this.agents),
      providers: () => call('providers', undefined, () => [...this.#providers().values()]),
      primaryTools: () => call('primaryTools', undefined, () => []),
      createSession: (session) => call('createSession', undefined, () => this.#create(session)),
      session: (id) => call('session', id, () => this.#store.session(id)),
      children: (id) => call('children', id, () => this.#store.children(id)),
      replaceMetadata: (id, metadata) =>
        call('replaceMetadata', id, () =>
          this.#store.updateSession(id, { metadata: structuredClone(metadata) }),
        ),
      permissions: () => call('permissions', undefined, () => this.permissions),
      rejectPermission: (id, message) => call('rejectPermission', undefined, () => this.#reject(id, message)),
      prompt: (id, prompt) => call('prompt', id, () => this.#prompt(id, structuredClone(prompt))),
      leaveMessage: (id) => call('leaveMessage', id, () => void this.#store.session(id)),
      abort: (id) => call('abort', id, () => this.#abort(id)),
      messages: (id) => call('messages', id, () => this.#store.messages(this.#store.session(id).id)),
      statuses: () => call('statuses', undefined, () => Object.fromEntries(this.#statuses)),
      callShellHooks: () => call('callShellHooks', undefined, () => {}),
      warn: (message) => call('warn', undefined, () => void this.logged.push({ level: 'toast', message })),
      log: (level, message) => call('log', undefined, () => void this.logged.push({ level, message })),
    }
  }

  /** Has a session ask for a permission, as a tool does that needs one. */
  askPermission(sessionID: string, permission: string, ...patterns: string[]): string {
    const id = this.#store.newID('evt').replace('evt', 'per')
    const request = { id, sessionID, permission, patterns, metadata: {}, always: [] }
    this.permissions.push(request)
    this.#emit('permission.asked', request)
    return id
  }

  /** Has a tool wait for a permission: resolves when it is granted, rejects when it is not. */
  needPermission(sessionID: string, permission: string, ...patterns: string[]): Promise<void> {
    const id = this.askPermission(sessionID, permission, ...patterns)
    return new Promise((resolve, reject) => this.#waitingTools.set(id, { resolve, reject }))
  }

  replyPermission(id: string, reply: 'once' | 'reject', message?: string): void {
    const index = this.permissions.findIndex((request) => request.id === id)
    const [request] = index === -1 ? [] : this.permissions.splice(index, 1)
    if (!request) throw new HostError('notFound', `Permission request not found: ${id}`)
    this.#emit('permission.replied', { sessionID: request.sessionID, requestID: id, reply })
    const tool = this.#waitingTools.get(id)
    this.#waitingTools.delete(id)
    if (reply === 'once') tool?.resolve()
    else tool?.reject(message === undefined ? new Refused() : new Error(message))
  }

  #reject(id: string, message?: string): void {
    this.rejections.push({ id, message })
    this.replyPermission(id, 'reject', message)
  }

  #providers(): Map<string, Provider> {
    const providers = new Map<string, { id: string; models: Record<string, unknown> }>()
    for (const name of this.models) {
      const [id = '', model = ''] = name.split('/')
      const provider = providers.get(id) ?? { id, models: {} }
      provider.models[model] = {}
      providers.set(id, provider)
    }
    return providers
  }

  #createRunHost(): RunHost {
    const toolNames = (): readonly string[] => this.toolNames
    return {
      clock: this.#clock,
      store: this.#store,
      emit: this.#emit,
      model: this.#model,
      get toolNames() {
        return toolNames()
      },
      runTool: (call, sessionID, callID) =>
        this.#toolWork.get(call)?.(callID) ?? this.runTool(call, sessionID, callID),
      toolStored: (metadata) => this.onToolStored(metadata),
      messagesRead: (messages) => this.onMessagesRead(messages),
      knowsModel: ({ providerID, modelID }) => this.models.has(`${providerID}/${modelID}`),
      setStatus: (sessionID, status) => {
        this.#statuses.set(sessionID, status)
        this.#emit('session.status', { sessionID, status })
      },
      runIdle: (run) => {
        const current = this.#runs.get(run.sessionID)
        if (current === undefined || current === run) this.#sayIdle(run.sessionID)
      },
      runEnded: (run) => {
        if (this.#runs.get(run.sessionID) === run) this.#runs.delete(run.sessionID)
      },
    }
  }

  #create({ permission, metadata, ...rest }: NewSession): Session {
    const own = { permission: structuredClone(permission), metadata: structuredClone(metadata) }
    return this.#store.createSession({ ...rest, ...own })
  }

  #prompt(sessionID: string, prompt: Prompt): void {
    this.#store.session(sessionID)
    if (!prompt.messageID.startsWith('msg') || prompt.parts.some(({ id }) => !id.startsWith('prt'))) {
      throw new HostError('refused', 'OpenCode refused session.promptAsync: BadRequest')
    }
    if (this.#promptsToSwallow > 0) this.#promptsToSwallow--
    else this.#accept(sessionID, prompt)
  }

  #accept(sessionID: string, prompt: Omit<Prompt, 'model'> & UserPromptOptions): void {
    const lives = this.#lives
    const store = async (previous: Promise<void> | undefined): Promise<void> => {
      await previous
      await pause(this.#clock, STORE_MS)
      if (lives === this.#lives && this.#store.has(sessionID)) await this.#take(sessionID, prompt)
    }
    this.#lastStored.set(sessionID, store(this.#lastStored.get(sessionID)))
  }

  async #take(
    sessionID: string,
    { messageID: id, agent: name = 'build', model, parts, noReply = false }: Prompt & UserPromptOptions,
  ): Promise<void> {
    const known = this.agents.find((each) => each.name === name)
    if (known === undefined) {
      // Two errors, and no idle ever (contract 1.12).
      const names = this.agents.map((each) => each.name).sort()
      const message = `Agent not found: "${name}". Available agents: ${names.join(', ')}`
      this.#emit('session.error', { sessionID, error: unknownError(message) })
      this.#emit('session.error', { sessionID, error: unknownError(`UnknownError: ${message}`) })
      return
    }
    const chosen: ModelOfUser = model ?? known.model ?? this.#sessionModel(sessionID)
    const { modelID, providerID, variant = 'default' } = chosen
    this.#store.dropReverted(sessionID)
    this.#store.updateSession(sessionID, { agent: name, model: { id: modelID, providerID, variant } })
    const time = { created: this.#clock.now() }
    const message = { id, sessionID, role: 'user' as const, time, agent: name, model: chosen }
    const stored = parts.map((part): object => ({ ...part, sessionID, messageID: id, type: 'text' }))
    const lives = this.#lives
    await this.onChatMessage(sessionID, { message, parts: stored })
    if (lives !== this.#lives || !this.#store.has(sessionID)) return
    this.#store.saveMessage(message)
    for (const [index, part] of stored.entries()) {
      if (index > 0 && index % PARTS_AT_ONCE === 0) await pause(this.#clock, STORE_MS)
      if (lives !== this.#lives || !this.#store.has(sessionID)) return
      this.#store.savePart(part as Part)
    }
    if (!noReply && !this.#runs.has(sessionID))
      this.#runs.set(sessionID, new FakeRun(this.#runHost, sessionID))
  }

  /** The variant is not sticky (contract 4.10). */
  #sessionModel(sessionID: string): ModelOfUser {
    const { model } = this.#store.session(sessionID)
    return model === undefined ? DEFAULT_MODEL : { providerID: model.providerID, modelID: model.id }
  }

  /**
   * Does not reach a message that is accepted but not yet stored: its turn runs (contract 4.8). Idle and unknown
   * sessions say that they are idle all the same (3.5, 6.3).
   */
  async #abort(sessionID: string): Promise<void> {
    const run = this.#runs.get(sessionID)
    if (run === undefined) {
      this.#sayIdle(sessionID)
      return
    }
    this.#runs.delete(sessionID)
    await run.abort()
  }

  #sayIdle(sessionID: string): void {
    this.#statuses.delete(sessionID)
    this.#emit('session.status', { sessionID, status: { type: 'idle' } })
    this.#emit('session.idle', { sessionID })
  }
}

function agent(name: string, mode: Agent['mode']): Agent {
  return { name, mode, native: true, description: `The agent ${name}.`, permission: [], options: {} }
}
