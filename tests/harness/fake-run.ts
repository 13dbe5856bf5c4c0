/**
 * Runs the fake host's prompt loop once: from busy, through all steps, to idle. Its order of events, its
 * exits and its oddities are those of the real loop; comments name the contract's sections.
 */
import type { Clock } from '../../src/clock.ts'
import type { Message, Part, SessionStatus } from '../../src/host/opencode.ts'
import {
  backOffMs,
  failureOf,
  isAnswered,
  newAnswer,
  newestUserMessage,
  unknownError,
  type AssistantMessage,
  type Failure,
  type UserMessage,
} from './fake-answer.ts'
import {
  asSummary,
  compactionPart,
  continuationParts,
  isCompactionRequest,
  overflow,
  overflowOf,
  summaryRequest,
} from './fake-compaction.ts'
import { requestOf, type FakeModel } from './fake-model.ts'
import type { Emit, FakeStore } from './fake-store.ts'
import type { ModelRequest, Reply, ToolCall } from './script.ts'

type ToolPart = Extract<Part, { type: 'tool' }>

/** The return value of a tool. */
export type ToolOutput = string | { readonly output: string; readonly metadata: Record<string, unknown> }

/** The port of a run to the host. */
export interface RunHost {
  readonly clock: Clock
  readonly store: FakeStore
  readonly emit: Emit
  readonly model: FakeModel
  readonly toolNames: readonly string[]
  runTool(call: ToolCall, sessionID: string, callID: string): ToolOutput | Promise<ToolOutput>
  /** Receives the metadata of each tool call that is stored as completed. */
  toolStored(metadata: Record<string, unknown>): void
  /** Passes the messages to a plugin's hook before a model reads them; the hook may add to them. */
  messagesRead(messages: { info: Message; parts: Part[] }[]): void
  knowsModel(model: UserMessage['model']): boolean
  setStatus(sessionID: string, status: SessionStatus): void
  /** Reports the session idle, unless a newer run has begun. */
  runIdle(run: FakeRun): void
  /** Lets the next prompt start a new run. */
  runEnded(run: FakeRun): void
}

/** Delay between storing the user message and busy; the gap of contract 2.3. */
const START_MS = 2
/** Delay from the assistant message to the model request, and from the answer to the end of the step. */
const REQUEST_MS = 3
const ANSWER_MS = 2
/** Delay from the first idle after an error to the final message (contract 1.5, 1.9); longer in a tool (1.10). */
const FINALISE_MS = 30
const FINALISE_TOOL_MS = 285
const MAX_RETRIES = 5

class Aborted extends Error {}

/** The user has rejected a permission request without a message: the turn ends (contract 8.2). */
export class Refused extends Error {
  constructor() {
    super('The user rejected permission to use this specific tool call.')
  }
}

class TurnFailed extends Error {
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.name)
    this.failure = failure
  }
}

export class FakeRun {
  readonly sessionID: string
  /** Settles when the run has sent its last event. */
  readonly ended: Promise<void>
  readonly #host: RunHost
  readonly #abort = new AbortController()
  #phase: 'starting' | 'asking' | 'tool' | 'backingOff' = 'starting'
  #answer: AssistantMessage | undefined
  #isKilled = false

  constructor(host: RunHost, sessionID: string) {
    this.#host = host
    this.sessionID = sessionID
    this.ended = this.#run()
  }

  abort(): Promise<void> {
    this.#abort.abort()
    return this.ended
  }

  /** Ends the run with its process: the store stays as it is (contract 9.5). */
  kill(): void {
    this.#isKilled = true
    this.#abort.abort()
  }

  async #run(): Promise<void> {
    try {
      await this.#wait(START_MS)
      while (await this.#step()) this.#phase = 'starting'
      this.#host.runIdle(this)
      this.#host.runEnded(this)
      this.#summarise()
    } catch (error) {
      if (this.#isKilled) return
      if (error instanceof Aborted) await this.#stop()
      else if (error instanceof TurnFailed) await this.#fail(error.failure)
      else await this.#fail(unknownError(error))
    }
  }

  /** Runs one step. False when the newest user message is answered, as a replayed one is (contract 4.14). */
  async #step(): Promise<boolean> {
    const { store, emit } = this.#host
    const { sessionID } = this
    this.#host.setStatus(sessionID, { type: 'busy' })
    const stored = store.messages(sessionID)
    const asked = newestUserMessage(stored)
    if (asked === undefined || isAnswered(stored, asked)) return false
    if (!this.#host.knowsModel(asked.model)) {
      const { providerID, modelID } = asked.model
      throw new TurnFailed(unknownError(`Model not found: ${providerID}/${modelID}.`))
    }

    const compacts = stored.some((each) => each.info.id === asked.id && isCompactionRequest(each))
    const answer = newAnswer(store.newID('msg'), this.#host.clock.now(), asked)
    this.#answer = store.saveMessage(compacts ? asSummary(answer) : answer)
    store.updateSession(sessionID, {})
    emit('session.diff', { sessionID, diff: [] })
    this.#phase = 'asking'
    await this.#wait(REQUEST_MS)
    const read = stored.map(({ info, parts }) => ({ info, parts: [...parts] }))
    this.#host.messagesRead(read)
    const request = requestOf(store.session(sessionID), read, this.#host.toolNames, asked.model.modelID)
    const reply = await this.#ask(compacts ? summaryRequest(request) : request)
    const tooLong = overflowOf(reply)
    if (tooLong) return await this.#overflow(asked, tooLong)

    this.#savePart({ type: 'step-start' })
    if (reply.reasoning) this.#savePart({ type: 'reasoning', text: reply.reasoning, time: this.#span() })
    if (reply.text) this.#savePart({ type: 'text', text: reply.text, time: this.#span() })
    const isRefused = await this.#useTools(reply.tools ?? [])
    await this.#wait(ANSWER_MS)
    const finish = (reply.finish ?? (reply.tools?.length ? 'tool_calls' : 'stop')).replace('_', '-')
    const { cost = 0, promptTokens: input = 10 } = reply
    const tokens = { input, output: 5, reasoning: 0, cache: { read: 0, write: 0 } }
    this.#savePart({ type: 'step-finish', reason: finish, cost, tokens })
    this.#saveAnswer({ finish, tokens, cost })
    this.#completeAnswer({})
    this.#answer = undefined
    if (compacts) {
      this.#saveUserMessage(asked, continuationParts(stored))
      emit('session.compacted', { sessionID })
    }
    return !isRefused
  }

  /** Lets the next step summarise the conversation. A summary that overflows itself ends the run (false). */
  async #overflow(asked: UserMessage, failure: Failure): Promise<boolean> {
    this.#host.emit('session.error', { sessionID: this.sessionID, error: failure })
    if (this.#answer?.summary) {
      this.#saveAnswer({ finish: 'error' })
      // The host sends it twice (seen).
      this.#completeAnswer({ error: overflow('Session too large to compact') })
      this.#completeAnswer({})
      return false
    }
    this.#completeAnswer({})
    // For 2 or 3 ms the closed message is the newest (seen).
    await this.#wait(ANSWER_MS)
    this.#saveUserMessage(asked, [compactionPart])
    return true
  }

  /** Stores a message of the host itself, with the agent and model of the message before. */
  #saveUserMessage({ agent, model }: UserMessage, parts: readonly object[]): void {
    const { store, clock } = this.#host
    const { sessionID } = this
    const id = store.newID('msg')
    store.saveMessage({ id, sessionID, role: 'user', time: { created: clock.now() }, agent, model })
    for (const part of parts) {
      store.savePart({ id: store.newID('prt'), sessionID, messageID: id, ...part } as Part)
    }
  }

  /** Asks the model until it answers, and retries transient failures (contract 1.6). */
  async #ask(request: ModelRequest): Promise<Reply> {
    const { clock, model } = this.#host
    for (let attempt = 1; ; attempt++) {
      this.#phase = 'asking'
      this.#host.setStatus(this.sessionID, { type: 'busy' })
      const reply = await this.#unlessAborted(model.ask(request, this.#abort.signal))
      const failure = failureOf(reply)
      if (failure === undefined || overflowOf(reply)) return reply
      if (reply.cut) {
        // The partial text is lost; its empty part stays.
        this.#savePart({ type: 'step-start' })
        this.#savePart({ type: 'text', text: '' })
      }
      if (!failure.data.isRetryable || attempt > MAX_RETRIES) throw new TurnFailed(failure)
      this.#phase = 'backingOff'
      const delayMs = backOffMs(reply, attempt)
      const { message } = failure.data
      const next = clock.now() + delayMs
      this.#host.setStatus(this.sessionID, { type: 'retry', attempt, message, next })
      await this.#wait(delayMs)
    }
  }

  /** Runs the tool calls. True when the user has rejected one. */
  async #useTools(calls: readonly ToolCall[]): Promise<boolean> {
    let isRefused = false
    if (calls.length > 0) this.#phase = 'tool'
    const uses = calls.map(async (call) => {
      const start = this.#host.clock.now()
      const input = { ...call.args }
      const state = { status: 'running' as const, input, time: { start } }
      const callID = this.#host.store.newID('evt').replace('evt', 'call')
      const part = this.#savePart({ type: 'tool', tool: call.name, callID, state }) as ToolPart
      const ended = await this.#unlessAborted(
        Promise.resolve()
          .then(() => this.#host.runTool(call, this.sessionID, callID))
          .then(
            (output) => ({
              status: 'completed' as const,
              ...(typeof output === 'string' ? { output, metadata: {} } : output),
              title: call.name,
            }),
            (error: unknown) => {
              isRefused ||= error instanceof Refused
              return { status: 'error' as const, error: String(error) }
            },
          ),
      )
      this.#host.store.savePart({ ...part, state: { ...ended, input, time: this.#span(start) } })
      if (ended.status === 'completed') this.#host.toolStored(ended.metadata)
    })
    await Promise.all(uses)
    return isRefused
  }

  /** Fails the run. A message queued before the second idle joins this run and is never answered. */
  async #fail(failure: Failure): Promise<void> {
    const { emit, clock } = this.#host
    emit('session.error', { sessionID: this.sessionID, error: failure })
    this.#host.runIdle(this)
    if (this.#answer === undefined) {
      // The second error of contract 1.12 follows the only idle.
      emit('session.error', { sessionID: this.sessionID, error: failure })
      this.#host.runEnded(this)
      return
    }
    await pause(clock, FINALISE_MS)
    this.#completeAnswer({ error: failure })
    this.#host.runIdle(this)
    this.#host.runEnded(this)
  }

  async #stop(): Promise<void> {
    const { clock, emit } = this.#host
    const phase = this.#phase
    if (phase === 'starting') {
      this.#host.runIdle(this)
      return
    }
    if (phase === 'backingOff') {
      // The message is completed without error or finish, with one idle only (contract 6.4).
      await pause(clock, FINALISE_MS)
      this.#completeAnswer({})
      this.#host.runIdle(this)
      return
    }
    const error = { name: 'MessageAbortedError' as const, data: { message: 'Aborted' } }
    emit('session.error', { sessionID: this.sessionID, error })
    this.#host.runIdle(this)
    await pause(clock, phase === 'tool' ? FINALISE_TOOL_MS : FINALISE_MS)
    this.#interruptTools()
    this.#completeAnswer({ error })
    this.#host.runIdle(this)
  }

  #interruptTools(): void {
    const answer = this.#host.store.messages(this.sessionID).find(({ info }) => info.id === this.#answer?.id)
    for (const part of answer?.parts ?? []) {
      if (part.type !== 'tool' || part.state.status !== 'running') continue
      const { input, time } = part.state
      const end = { error: 'Tool execution aborted', metadata: { interrupted: true } }
      const state = { status: 'error' as const, input, ...end, time: this.#span(time.start) }
      this.#host.store.savePart({ ...part, state })
    }
  }

  /** Sends the events after idle: the session, and the user message with its summary (contract 1.1). */
  #summarise(): void {
    const { store, emit } = this.#host
    const asked = newestUserMessage(store.messages(this.sessionID))
    if (asked === undefined) return
    store.updateSession(this.sessionID, {})
    emit('session.diff', { sessionID: this.sessionID, diff: [] })
    store.saveMessage({ ...asked, summary: { diffs: [] } })
  }

  #saveAnswer(changes: Partial<AssistantMessage>): void {
    if (this.#answer === undefined) return
    this.#answer = this.#host.store.saveMessage({ ...this.#answer, ...changes })
  }

  #completeAnswer(end: { readonly error?: Failure }): void {
    // A deleted session has no message to complete.
    if (this.#answer === undefined || !this.#host.store.has(this.sessionID)) return
    const time = { ...this.#answer.time, completed: this.#host.clock.now() }
    this.#saveAnswer({ ...(end as Pick<AssistantMessage, 'error'>), time })
  }

  #savePart(part: object): Part {
    const { store } = this.#host
    const owner = { sessionID: this.sessionID, messageID: this.#answer?.id }
    return store.savePart({ id: store.newID('prt'), ...owner, ...part } as Part)
  }

  #span(start = this.#host.clock.now()): { start: number; end: number } {
    return { start, end: this.#host.clock.now() }
  }

  /** Waits; rejects at once when the run is aborted, and leaves no timer behind. */
  async #wait(delayMs: number): Promise<void> {
    let stopTimer = (): void => {}
    const timer = new Promise<void>((resolve) => {
      stopTimer = this.#host.clock.after(delayMs, resolve)
    })
    await this.#unlessAborted(timer).finally(() => stopTimer())
  }

  #unlessAborted<Result>(work: Promise<Result>): Promise<Result> {
    const { signal } = this.#abort
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(new Aborted())
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }
}

/** Resolves after `delayMs` of the clock. */
export function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve)
  })
}
