/**
 * Runs an agent once in its child session: prompts, watches and stops the session, and reads the end from its messages.
 * Events and status polls only trigger a check, because idle does not prove an end: OpenCode also reports it before a
 * failed message is final, after another client's abort, and for the run before (contract, traps 1 to 3).
 *
 *   running ──→ stopping ⇄ stopped
 *      └───────────┴──────────┴─────→ over
 *
 * `running`: the prompt is being sent or was sent. An idle session without evidence of an end fails after
 * `startTimeoutMs`. `stopping`: a stop was requested; the abort waits until the prompt is acknowledged, because otherwise
 * the prompt starts a turn after the abort. Idle proves nothing meanwhile. `stopped`: OpenCode has acknowledged the abort; a
 * session that stays idle has stopped, a busy one is aborted again. `over`: the outcome is known, or the run abandoned.
 */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type Part,
  type Prompt,
  type Session,
} from '../../host/opencode.ts'
import { NO_USAGE, usedTogether, type Outcome, type Usage } from '../../task/state.ts'
import { usagesOf, type AgentTask } from '../../task/task.ts'
import type { TaskStore } from '../../task/store.ts'
import type { TimelineWriter } from '../../timeline.ts'
import type { StopCause } from '../outcome.ts'
import { AnswerLoop, LOOPS } from './answer-loop.ts'
import { outcomeOf, type Ending } from './ending.ts'
import { DELETED, findingOf, unread, type Finding, type KnownRun, type PromptTurn } from './evidence.ts'
import { firstTextOf, promptOf, sendPrompt } from './prompt.ts'
import { RunProgress } from './run-progress.ts'
import { readTranscript, transcriptOfNewest, type RunSummary, type Transcript } from './transcript.ts'

export interface AgentRunPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly timeline: TimelineWriter
}

export interface AgentRunOptions {
  /** How long the session may be idle without a final answer before the run counts as failed. */
  readonly startTimeoutMs: number
  /** Aborts the session. Never rejects. */
  readonly abort: () => Promise<void>
  /** Called at the end of each step, maybe more than once. */
  readonly onStep: () => void
  /** Called once, when the run needs no further event or poll. */
  readonly onOver: () => void
}

export class AgentRun {
  /** Never rejects. */
  readonly outcome: Promise<Outcome>
  readonly #task: AgentTask
  readonly #ports: AgentRunPorts
  readonly #options: AgentRunOptions
  #resolve!: (outcome: Outcome) => void
  #state: 'running' | 'stopping' | 'stopped' | 'over' = 'running'
  /** Whether a check reads the messages, and whether a later event has made that check outdated. */
  #check: 'none' | 'reading' | 'outdated' = 'none'
  #cause: StopCause | undefined
  #turn: PromptTurn = 'unsent'
  #prompting = Promise.resolve()
  /** The text of the first `session.error`: OpenCode may store it in no message. */
  #error: string | undefined
  readonly #progress: RunProgress
  #idleSince: number | undefined
  #activeAt: number
  readonly #loop = new AnswerLoop()
  #cancelTimer = (): void => {}

  constructor(task: AgentTask, ports: AgentRunPorts, options: AgentRunOptions) {
    this.#task = task
    this.#ports = ports
    this.#options = options
    this.#progress = new RunProgress(task.promptIDs[0])
    this.#activeAt = ports.clock.monotonic()
    this.outcome = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** Milliseconds since the last event of the session. */
  get silentMs(): number {
    return this.#ports.clock.monotonic() - this.#activeAt
  }

  /** Its progress; `undefined` before its first message. */
  get summary(): RunSummary | undefined {
    return this.#progress.summary
  }

  /** Whether its final answer is complete: the end follows once its session is idle. */
  get isFinishing(): boolean {
    return this.#proved !== undefined
  }

  get taskID(): string {
    return this.#task.id
  }

  /** Whether it continues when this process ends. */
  get isElsewhere(): boolean {
    return this.#task.place !== undefined
  }

  /** Its usage so far, as its events show it. */
  get usage(): Usage {
    return this.#progress.usageSince(usedTogether(usagesOf(this.#task)))
  }

  /** Whether its newest message is a final answer, so that no step follows unless another prompt waits. */
  get isAnswered(): boolean {
    return this.#progress.isAnswered
  }

  /** How many answers in a row had neither a known finish nor a tool call. */
  get loops(): number {
    return this.#loop.answers
  }

  /**
   * Sends the prompt. Only a check shows whether the session has received it.
   *
   * @param onStarted called once, when OpenCode has acknowledged the prompt, or may have accepted it
   */
  start(onStarted: () => void): void {
    this.#prompting = this.#prompt(() => {
      this.#turn = 'sent'
      onStarted()
    })
  }

  /** Observes a run that another process has started. */
  resume(): void {
    this.#turn = 'sent'
    this.#progress.observeGap()
  }

  /** Stops the run. A later cause does not replace the first. */
  stop(cause: StopCause): void {
    this.#cause ??= cause
    void this.#abort()
  }

  /** Ends the run without resolving `outcome`. */
  abandon(): void {
    this.#state = 'over'
    this.#cancelTimer()
  }

  /** Records an event of the session. Must stay cheap, because it is called for every part of every answer. */
  observeActivity(part?: Part): void {
    this.#activeAt = this.#ports.clock.monotonic()
    if (part) this.#progress.observePart(part)
    if (part?.type === 'tool') this.#loop.observeToolCall(part.messageID)
  }

  observeMessage(info: Message): void {
    this.#progress.observeMessage(info)
    if (info.role !== 'assistant' || info.time.completed === undefined) return
    this.#options.onStep()
    if (this.#loop.observeAnswer(info)) this.stop({ type: 'loop', answers: LOOPS })
  }

  observeSession(session: Session): void {
    this.#progress.observeSession(session)
  }

  observeBusy(): void {
    this.#idleSince = undefined
    if (this.#cause) void this.#abort()
  }

  observeError(text: string): void {
    this.#error ??= text
    this.check()
  }

  /** Observes that events were missed, so that only the messages can prove the end. */
  observeGap(): void {
    this.#progress.observeGap()
    this.#idleSince = undefined
    if (this.#turn === 'sent') this.#turn = 'unsure'
  }

  observeInstanceEnd(): void {
    if (this.#turn !== 'unsent') this.#turn = 'cutOff'
  }

  observeDeleted(): void {
    void this.#end(DELETED)
  }

  /** Reads the messages for an end, and reads them again if this is called meanwhile. */
  check(): void {
    if (this.#state === 'over') return
    if (this.#check === 'none') {
      this.#check = 'reading'
      void this.#checkUntilCurrent()
    } else this.#check = 'outdated'
  }

  async #prompt(onStarted: () => void): Promise<void> {
    const { log, opencode } = this.#ports
    const { id, sessionID, promptIDs } = this.#task
    const message: Prompt = promptOf(this.#task, promptIDs[0], firstTextOf(this.#task))
    const nothing = { text: '', usage: NO_USAGE }
    try {
      await sendPrompt(opencode, sessionID, message, () => this.#state === 'running')
      onStarted()
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') void this.#end(DELETED)
      else if (error instanceof HostError && error.reason === 'noAnswer') {
        log.warn(`${id}: ${error.message}; it may have been accepted, so the session is watched`)
        onStarted()
        this.check()
      } else {
        void this.#end({
          ...nothing,
          type: 'failed',
          failure: { reason: 'error', message: errorText(error) },
        })
      }
    }
  }

  async #abort(): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'over') return
    this.#state = 'stopping'
    await this.#prompting
    await this.#options.abort()
    if (this.#isOver()) return
    this.#state = 'stopped'
    this.#idleSince = undefined
    this.check()
  }

  async #end(ending: Ending): Promise<void> {
    if (this.#state === 'over') return
    this.abandon()
    this.#options.onOver()
    // OpenCode does not stop the turn of a deleted session (contract 1.11).
    if (ending.type === 'deleted') await this.#options.abort()
    this.#resolve(outcomeOf(ending, this.#cause))
  }

  /** Reads the state after an await, because the compiler still narrows it to its value before. */
  #isOver(): boolean {
    return this.#state === 'over'
  }

  async #checkUntilCurrent(): Promise<void> {
    try {
      const ending = await this.#findEnding()
      if (ending) void this.#end(ending)
    } catch (error) {
      this.#ports.log.warn(`could not read session ${this.#task.sessionID}: ${errorText(error)}`)
    }
    const isOutdated = this.#check === 'outdated'
    this.#check = 'none'
    if (isOutdated) this.check()
  }

  /** Returns the ending once the messages and the idle time prove it. */
  async #findEnding(): Promise<Ending | undefined> {
    const fromEvents = this.#proved
    const proved = fromEvents && findingOf(fromEvents, this.#known)
    // If the end must hold for some idle time, read the messages, because events can be late.
    if (proved && proved.idleMs === undefined) return proved.ending
    const first = await this.#read()
    if (this.#isOver()) return undefined
    if (first.idleMs === undefined) return first.ending
    // The acknowledged abort triggers another check.
    if (this.#state === 'stopping') return undefined
    if (!this.#wasIdleFor(first.idleMs)) {
      this.#addDoubt(`idle: ${first.ending.type} if it stays idle for ${first.idleMs / 1000} s`)
      return undefined
    }
    if (await this.#isBusy()) {
      this.#addDoubt('idle, then busy again')
      return undefined
    }
    if (this.#isOver()) return undefined
    // Read again, because the first read may have been answered before the session became idle.
    const { ending, idleMs } = await this.#read()
    return idleMs === undefined || this.#wasIdleFor(idleMs) ? ending : undefined
  }

  /** Returns the ending that the messages show: the newest one if it decides, otherwise all. */
  async #read(): Promise<Finding> {
    try {
      return findingOf((await this.#readNewest()) ?? (await this.#readAll()), this.#known)
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      if (error.reason === 'notFound') return { ending: DELETED, idleMs: undefined }
      return unread(errorText(error), this.#known)
    }
  }

  async #readNewest(): Promise<Transcript | undefined> {
    const following = this.#isOfOnePrompt ? this.#progress.following : undefined
    if (!following) return undefined
    const [newest] = await this.#ports.opencode.newestMessages(this.#task.sessionID, 1)
    // A prompt that was sent meanwhile starts another turn.
    if (!this.#isOfOnePrompt || newest?.info.id !== following.newestID) return undefined
    return transcriptOfNewest(newest, following.askedID, following.before)
  }

  async #readAll(): Promise<Transcript> {
    return readTranscript(await this.#ports.opencode.messages(this.#task.sessionID), this.#promptIDs())
  }

  /** A run of several prompts may have answered one before it saw the next. */
  get #isOfOnePrompt(): boolean {
    return this.#promptIDs().length === 1
  }

  /** The transcript of a run that its events prove to have ended. */
  get #proved(): Transcript | undefined {
    return this.#isOfOnePrompt ? this.#progress.transcript() : undefined
  }

  /** The state of the run that decides together with its messages. */
  get #known(): KnownRun {
    return {
      task: this.#task,
      turn: this.#turn,
      isStopping: this.#cause !== undefined,
      error: this.#error,
      startTimeoutMs: this.#options.startTimeoutMs,
    }
  }

  /** Returns the ids of the run's prompts; more can be sent while it runs. */
  #promptIDs(): readonly string[] {
    return this.#ports.store.now(this.#task).promptIDs
  }

  /** Whether the session is known to have been idle for `idleMs`; otherwise schedules a check for that moment. */
  #wasIdleFor(idleMs: number): boolean {
    const { clock } = this.#ports
    const now = clock.monotonic()
    this.#idleSince ??= now
    const leftMs = this.#idleSince + idleMs - now
    if (leftMs <= 0) return true
    this.#cancelTimer()
    this.#cancelTimer = clock.after(leftMs, () => {
      // A session that became busy meanwhile triggers a check with its next idle.
      if (this.#idleSince !== undefined) this.check()
    })
    return false
  }

  async #isBusy(): Promise<boolean> {
    const isBusy = this.#task.sessionID in (await this.#ports.opencode.statuses())
    if (isBusy) this.observeBusy()
    return isBusy
  }

  #addDoubt(detail: string): void {
    this.#ports.timeline.add(this.#task.id, { type: 'idle', detail })
  }
}
