/**
 * OpenCode in memory, for fast tests: the port `Opencode` over sessions that run on a test's clock with a scripted
 * model. The contract suite (tests/contract) runs against it and the real binary, and proves it so far.
 *
 * A call of the port settles without time passing, except an abort, which waits until the run has stopped. Its effects
 * (a stored message, a turn, its end) take milliseconds of the clock, as on the real host. Data is copied by `klona`, which takes
 * a fifth of the time of `structuredClone`.
 */
import { klona } from 'klona/json'
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

/** The options with which the user's client sends a message. */
export interface UserPromptOptions {
  readonly agent?: string
  readonly model?: ModelOfUser
  /** Stores the message without starting a turn. */
  readonly noReply?: boolean
}

/** Delay between accepting a prompt and storing its message; a session stores one prompt at a time. */
const STORE_MS = 4
/** The number of parts of a message that are stored without a pause. */
const PARTS_AT_ONCE = 40
const HEARTBEAT_MS = 10_000
/** The directory of the port, and of new sessions. */
const DIRECTORY = '/project'
const DEFAULT_MODEL: ModelOfUser = { providerID: 'mock', modelID: 'm1' }

const PRICES = { input: 1, output: 1 }

export class FakeHost {
  readonly opencode: Opencode
  /** All calls of the port, with those that a test made fail. */
  readonly calls: { readonly method: Method; readonly sessionID?: string }[] = []
  /** Unanswered permission requests; they survive an abort (contract 6.5). */
  readonly permissions: PermissionRequest[] = []
  readonly rejections: { readonly id: string; readonly message: string | undefined }[] = []
  /** The log entries of the port. */
  readonly logged: { readonly level: string; readonly message: string }[] = []
  /** While set, events are lost. */
  muteEvents = false
  /** The delays in ms after which an event is sent, once for each: none loses it, two send it twice. */
  eventDelays: (event: Event) => readonly number[] = () => [0]
  /** The tools that the model receives unless a session's rules deny them. */
  toolNames = ['bash', 'edit', 'glob', 'grep', 'question', 'read', 'skill', 'task', 'todowrite', 'write']
  /** Returns a tool's answer; may hang, and throws for a tool that fails. */
  runTool: (call: ToolCall, sessionID: string, callID: string) => ToolOutput | Promise<ToolOutput> = () =>
    'ok'
  /** Receives the metadata of each tool call that is stored as completed. */
  onToolStored: (metadata: Record<string, unknown>) => void = () => {}
  /** The hook that receives each message before it is stored, and may add parts. */
  onChatMessage: (
    sessionID: string,
    message: { message: UserMessage; parts: object[] },
  ) => void | Promise<void> = () => {}
  /** The hook that receives the messages before a model reads them, and may add to them. */
  onMessagesRead: (messages: { info: Message; parts: Part[] }[]) => void = () => {}
  agents: Agent[] = [
    agent('build', 'primary'),
    agent('plan', 'primary'),
    agent('general', 'subagent'),
    agent('explore', 'subagent'),
  ]
  /** Models without known prices, as `provider/model`. */
  readonly unpriced = new Set<string>()
  /** Known models, as `provider/model`. */
  readonly models = new Set(['mock/m1', 'mock/m2', 'mock/m3'])

  readonly #clock: Clock
  readonly #store: FakeStore
  readonly #faults: FakeFaults
  readonly #model: FakeModel
  /** With the directory whose events each hears. */
  readonly #listeners = new Map<(event: Event) => void, string>()
  /** The directories besides that of the port in its statuses and permission requests. */
  readonly #included: string[] = []
  readonly #statuses = new Map<string, SessionStatus>()
  readonly #runs = new Map<string, FakeRun>()
  readonly #lastStored = new Map<string, Promise<void>>()
  readonly #runHost: RunHost
  readonly #waitingTools = new Map<
    string,
    { readonly resolve: () => void; readonly reject: (error: Error) => void }
  >()
  /** The work of the calls that `toolCall` has created. */
  readonly #toolWork = new WeakMap<ToolCall, (callID: string) => ToolOutput | Promise<ToolOutput>>()
  /** Each ends one event stream: in the end of the stream, or in a broken connection. */
  readonly #streams = new Set<(error?: HostError) => void>()
  #isAway = false
  #promptsToSwallow = 0
  /** Counts the processes and instances of this host. */
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

  /** The model's requests, oldest first. */
  get modelRequests(): readonly FakeRequest[] {
    return this.#model.requests
  }

  /** Listens to all sessions of a directory, as a plugin's event hook does. Returns a function that stops it. */
  onEvent(listener: (event: Event) => void, directory = DIRECTORY): () => void {
    this.#listeners.set(listener, directory)
    return () => this.#listeners.delete(listener)
  }

  /** Creates a session without a parent, as the user does. */
  createRootSession(fields: Partial<Session> = {}): Session {
    return this.#store.createSession({ title: 'Root', ...fields })
  }

  /** Returns a stored session. Throws a `HostError` when it is unknown. */
  session(sessionID: string): Session {
    return klona(this.#store.session(sessionID))
  }

  messagesOf(sessionID: string): readonly StoredMessage[] {
    return klona(this.#store.messages(sessionID))
  }

  /** Sends a user message, and returns its id. */
  userPrompt(sessionID: string, text: string, options: UserPromptOptions = {}): string {
    const messageID = this.#store.newID('msg')
    const part = { id: this.#store.newID('prt'), text, synthetic: false }
    this.#accept(sessionID, { messageID, parts: [part], ...options })
    return messageID
  }

  /** Creates a call of a tool that does `work`, for a script's reply. */
  toolCall(work: (callID: string) => ToolOutput | Promise<ToolOutput>): ToolCall {
    const call = { name: 'tool', args: {} }
    this.#toolWork.set(call, work)
    return call
  }

  /** Sends a user message that makes the model call a tool at once for each work, whatever the script says. */
  callTool(
    sessionID: string,
    ...works: readonly ((callID: string) => ToolOutput | Promise<ToolOutput>)[]
  ): void {
    this.#model.nextCalls.set(
      sessionID,
      works.map((work) => this.toolCall(work)),
    )
    this.userPrompt(sessionID, 'call a tool')
  }

  /** Presses ESC. Resolves when the run has stopped. */
  userAbort(sessionID: string): Promise<void> {
    return this.#abort(sessionID)
  }

  /**
   * Undoes a message and all later ones, as /undo does. They stay until the next prompt (contract 4.15).
   * Throws a `HostError` while the session is busy.
   */
  userRevert(sessionID: string, messageID: string): void {
    if (this.isBusy(sessionID)) throw new HostError('refused', `Session is busy: ${sessionID}`)
    this.#store.updateSession(sessionID, { revert: { messageID } })
  }

  /** Reverts an undo, as /redo does. */
  userUnrevert(sessionID: string): void {
    const { revert: _, ...session } = this.#store.session(sessionID)
    this.#store.replaceSession(session)
  }

  /** Archives a session, or unarchives it, which leaves a 0 (seen). */
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

  /** Deletes a session and its children without stopping their turns (contract 1.11). */
  deleteSession(sessionID: string): void {
    this.#store.deleteSession(sessionID)
  }

  /** Ends the process as kill -9 does: turns and listeners end, the store stays as it is. */
  crash(): void {
    this.endInstance()
    this.#faults.kill()
  }

  /** Breaks all event streams; a new subscription succeeds. */
  breakStreams(): void {
    for (const end of this.#streams)
      end(new HostError('noAnswer', "OpenCode's event stream broke: terminated"))
  }

  /** Whether no call reaches the server, as while it is not running or the network is cut; breaks the streams. */
  get isAway(): boolean {
    return this.#isAway
  }

  set isAway(isAway: boolean) {
    this.#isAway = isAway
    if (isAway) this.breakStreams()
  }

  /** Starts the server anew, as seen by a process outside of it: turns and streams end, the store stays as it is. */
  restartServer(): void {
    this.endInstance()
    this.breakStreams()
  }

  /** Ends the instance with its event streams, as seen by a process outside: it aborts its turns first (contract 9.4). */
  async disposeInstance(): Promise<void> {
    this.abortAll()
    await pause(this.#clock, STORE_MS)
    this.#emit('server.instance.disposed', { directory: DIRECTORY })
    await pause(this.#clock, 0)
    this.endInstance()
    for (const end of this.#streams) end()
  }

  /** Aborts all turns, as OpenCode does some time before it disposes an instance (contract 9.4). */
  abortAll(): void {
    for (const sessionID of this.#runs.keys()) void this.#abort(sessionID)
  }

  /** Ends an instance, as a change of the configuration does; the process and calls on their way continue. */
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

  /** Drops the planned faults that have not happened. */
  clearFaults(): void {
    this.#faults.clear()
    this.#promptsToSwallow = 0
  }

  /** The latency of each call, and of each answer, in ms; 0 by default. */
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

  /** Makes the next call of a method have no effect, and reject with a timeout. */
  hangNext(method: Method): void {
    this.#faults.plan(method, { kind: 'hang' })
  }

  /** Lets the next call of a method take effect, and reject with a timeout. */
  loseNextAnswer(method: Method): void {
    this.#faults.plan(method, { kind: 'loseAnswer' })
  }

  /** Accepts the next prompt and never stores it, as after a throw in `chat.message` (contract 1.13). */
  swallowNextPrompt(): void {
    this.#promptsToSwallow++
  }

  readonly #emit: Emit = (type, properties) => {
    if (this.muteEvents) return
    const event = klona({ id: this.#store.newID('evt'), type, properties }) as Event
    const directory = this.#directoryOf(properties)
    for (const delayMs of this.eventDelays(event)) {
      for (const [listener, heard] of this.#listeners) {
        if (heard !== directory) continue
        if (delayMs === 0) queueMicrotask(() => listener(event))
        else
          this.#clock.after(delayMs, () => {
            if (this.#listeners.has(listener)) listener(event)
          })
      }
    }
  }

  /** Returns the directory whose instance sends an event (contract 17.2). */
  #directoryOf(properties: object): string {
    const { info, sessionID } = properties as { info?: Partial<Session>; sessionID?: string }
    if (info?.directory !== undefined) return info.directory
    return sessionID !== undefined && this.#store.has(sessionID)
      ? this.#store.session(sessionID).directory
      : DIRECTORY
  }

  /** Whether the port's calls for all sessions include this one. */
  #isIncluded(sessionID: string): boolean {
    return [DIRECTORY, ...this.#included].includes(this.#directoryOf({ sessionID }))
  }

  #include(directory: string): () => void {
    this.#included.push(directory)
    return () => this.#included.splice(this.#included.indexOf(directory), 1)
  }

  #createPort(): Opencode {
    const call = <Result>(
      method: Method,
      sessionID: string | undefined,
      run: () => Result | Promise<Result>,
    ) => {
      this.calls.push({ method, ...(sessionID !== undefined && { sessionID }) })
      if (this.#isAway)
        return Promise.reject(new HostError('noAnswer', `OpenCode could not be reached for ${method}`))
      return this.#faults.call(method, run)
    }
    return {
      agents: () => call('agents', undefined, () => this.agents),
      providers: () => call('providers', undefined, () => [...this.#providers().values()]),
      primaryTools: () => call('primaryTools', undefined, () => []),
      plugins: () => call('plugins', undefined, () => []),
      createSession: (session) => call('createSession', undefined, () => this.#create(session)),
      session: (id) => call('session', id, () => this.#store.session(id)),
      children: (id) => call('children', id, () => this.#store.children(id)),
      replaceMetadata: (id, metadata) =>
        call('replaceMetadata', id, () => this.#store.updateSession(id, { metadata: klona(metadata) })),
      permissions: () =>
        call('permissions', undefined, () =>
          this.permissions.filter(({ sessionID }) => this.#isIncluded(sessionID)),
        ),
      rejectPermission: (id, message, at) =>
        call('rejectPermission', undefined, () => this.#reject(id, message, at)),
      prompt: (id, prompt) => call('prompt', id, () => this.#prompt(id, klona(prompt))),
      leaveMessage: (id) => call('leaveMessage', id, () => void this.#store.session(id)),
      abort: (id) => call('abort', id, () => this.#abort(id)),
      messages: (id) => call('messages', id, () => this.#store.messages(this.#store.session(id).id)),
      newestMessages: (id, count) =>
        call('newestMessages', id, () => this.#store.messages(this.#store.session(id).id).slice(-count)),
      statuses: () =>
        call('statuses', undefined, () =>
          Object.fromEntries([...this.#statuses].filter(([id]) => this.#isIncluded(id))),
        ),
      include: (directory) => this.#include(directory),
      moveSession: (id, directory) =>
        call('moveSession', id, () => this.#store.updateSession(id, { directory })),
      endInstance: () => call('endInstance', undefined, () => {}),
      events: (onEvent, signal, at) => call('events', undefined, () => this.#stream(onEvent, signal, at)),
      callShellHooks: () => call('callShellHooks', undefined, () => {}),
      warn: (message) => call('warn', undefined, () => void this.logged.push({ level: 'toast', message })),
      log: (level, message) => call('log', undefined, () => void this.logged.push({ level, message })),
    }
  }

  #stream(onEvent: (event: Event) => void, signal: AbortSignal, at?: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const stopListening = this.onEvent(onEvent, at)
      let cancelBeat = (): void => {}
      const send = (type: 'server.connected' | 'server.heartbeat'): void => {
        if (!this.muteEvents) onEvent({ id: this.#store.newID('evt'), type, properties: {} } as Event)
        cancelBeat = this.#clock.after(HEARTBEAT_MS, () => send('server.heartbeat'))
      }
      const end = (error?: HostError): void => {
        cancelBeat()
        stopListening()
        this.#streams.delete(end)
        if (error) reject(error)
        else resolve()
      }
      this.#streams.add(end)
      if (signal.aborted) {
        end()
        return
      }
      signal.addEventListener('abort', () => end())
      send('server.connected')
    })
  }

  /** Requests a permission in a session, as a tool does that needs one. */
  askPermission(sessionID: string, permission: string, ...patterns: string[]): string {
    const id = this.#store.newID('evt').replace('evt', 'per')
    const request = { id, sessionID, permission, patterns, metadata: {}, always: [] }
    this.permissions.push(request)
    this.#emit('permission.asked', request)
    return id
  }

  /** Requests a permission for a tool: resolves when it is granted, otherwise rejects. */
  needPermission(sessionID: string, permission: string, ...patterns: string[]): Promise<void> {
    const id = this.askPermission(sessionID, permission, ...patterns)
    return new Promise((resolve, reject) => this.#waitingTools.set(id, { resolve, reject }))
  }

  /** Publishes a command of the terminal UI (contract 15.14). */
  publishCommand(command: string): void {
    this.#emit('tui.command.execute', { command })
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

  #reject(id: string, message?: string, at = DIRECTORY): void {
    const request = this.permissions.find((each) => each.id === id)
    if (request && this.#directoryOf(request) !== at)
      throw new HostError('notFound', `Permission request not found: ${id}`)
    this.rejections.push({ id, message })
    this.replyPermission(id, 'reject', message)
  }

  #providers(): Map<string, Provider> {
    const providers = new Map<string, { id: string; models: Record<string, { cost?: typeof PRICES }> }>()
    for (const name of this.models) {
      const [id = '', model = ''] = name.split('/')
      const provider = providers.get(id) ?? { id, models: {} }
      provider.models[model] = this.unpriced.has(name) ? {} : { cost: PRICES }
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
    const own = { permission: klona(permission), metadata: klona(metadata) }
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
      // OpenCode sends two errors and never an idle (contract 1.12).
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

  /** Returns the session's model without its variant, which is not sticky (contract 4.10). */
  #sessionModel(sessionID: string): ModelOfUser {
    const { model } = this.#store.session(sessionID)
    return model === undefined ? DEFAULT_MODEL : { providerID: model.providerID, modelID: model.id }
  }

  /**
   * Aborts a session's turn, but not a message that is accepted and not yet stored: its turn runs (contract
   * 4.8). Idle and unknown sessions report idle as well (3.5, 6.3).
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
