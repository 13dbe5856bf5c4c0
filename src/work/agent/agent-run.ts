/**
 * One run of an agent in its child session: prompts the session, watches it, stops it, and reads the end from its messages.
 * Events and the status poll only cause a check, because idle alone does not prove an end: it also comes before a failed
 * message is final, after somebody else's abort, and from the run before (contract, traps 1 to 3).
 *
 *   running ──→ stopping ⇄ stopped
 *      └───────────┴──────────┴─────→ over
 *
 * `running`: the prompt was sent, or is being sent. An idle session without evidence of an end fails after `startTimeoutMs`.
 * `stopping`: a cause to stop is known; the abort waits for the prompt's acknowledgement, because a prompt on its way would
 * start a turn behind the abort. Idle proves nothing meanwhile. `stopped`: OpenCode has acknowledged the abort; a session
 * that stays idle has stopped, and one that is busy again is aborted again. `over`: the outcome is known, or nobody wants it.
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
  type StoredMessage,
} from '../../host/opencode.ts'
import { NO_USAGE, type AgentTask, type Outcome } from '../../task/task.ts'
import type { TaskStore } from '../../task/store.ts'
import type { TimelineWriter } from '../../timeline.ts'
import type { StopCause } from '../outcome.ts'
import { judge, outcomeOf, type Ending } from './evidence.ts'
import { sendPrompt, promptOf } from './prompt.ts'
import { GOES_ON_WITHIN_MS, readTranscript } from './transcript.ts'

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
  /** Stops what runs in the session. Never rejects. */
  readonly abort: () => Promise<void>
  /** Called once, when no event or poll concerns the run any more. */
  readonly onOver: () => void
}

/**
 * How long an idle session must stay so before nothing more is expected of a message that may be on its way: an abort does
 * not prevent its turn, which then begins late (contract 4.8, 2.3).
 */
const STAYS_IDLE_MS = 2000

/** After so many answers in a row without a tool call or a known finish the run is stopped: OpenCode would ask for ever. */
const LOOPS = 5
/** Finishes upon which the host does not ask again, whether or not the answer holds a tool call. */
const KNOWN_FINISHES: ReadonlySet<string> = new Set(['stop', 'length', 'content-filter', 'error'])

const DELETED: Ending = { type: 'deleted', text: '', usage: NO_USAGE }

export class AgentRun {
  /** Never rejects. */
  readonly outcome: Promise<Outcome>
  readonly #task: AgentTask
  readonly #ports: AgentRunPorts
  readonly #options: AgentRunOptions
  #resolve!: (outcome: Outcome) => void
  #state: 'running' | 'stopping' | 'stopped' | 'over' = 'running'
  /** Whether the messages are being read, and must be read again because something has happened since. */
  #check: 'none' | 'reading' | 'outdated' = 'none'
  #cause: StopCause | undefined
  #prompting = Promise.resolve()
  /** The text of a `session.error`, which may stand in no message. */
  #error: string | undefined
  #idleSince: number | undefined
  #activeAt: number
  /** The newest answer that got nowhere, and how many there were in a row. */
  #loop = { messageID: '', answers: 0 }
  #cancelTimer = (): void => {}

  constructor(task: AgentTask, ports: AgentRunPorts, options: AgentRunOptions) {
    this.#task = task
    this.#ports = ports
    this.#options = options
    this.#activeAt = ports.clock.monotonic()
    this.outcome = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** For how many milliseconds no event of the session has come. */
  get silentMs(): number {
    return this.#ports.clock.monotonic() - this.#activeAt
  }

  /** How many answers in a row got nowhere. */
  get loops(): number {
    return this.#loop.answers
  }

  /**
   * Sends the prompt. Whether the session has received it, only a check can tell.
   *
   * @param onStarted called once, when OpenCode has acknowledged the prompt, or may have accepted it
   */
  start(onStarted: () => void): void {
    this.#prompting = this.#prompt(onStarted)
  }

  /** Stops the run. The first cause stands. */
  stop(cause: StopCause): void {
    this.#cause ??= cause
    void this.#abort()
  }

  /** Ends the run without an outcome: its instance ends. */
  abandon(): void {
    this.#state = 'over'
    this.#cancelTimer()
  }

  /** An event of the session has come. Called for every part of every answer, so it does next to nothing. */
  observeActivity(part?: Part): void {
    this.#activeAt = this.#ports.clock.monotonic()
    if (part?.type === 'tool') this.#loop = { messageID: part.messageID, answers: 0 }
  }

  /**
   * Counts the answers that get nowhere: OpenCode asks the model again after one without a finish, with a finish that it does
   * not know, and with `tool-calls` but no tool call (seen). A tool call resets the count.
   */
  observeMessage(info: Message): void {
    if (info.role !== 'assistant' || info.time.completed === undefined || info.error || info.summary) return
    if (info.id === this.#loop.messageID) return
    const isLoop = info.finish === undefined || !KNOWN_FINISHES.has(info.finish)
    this.#loop = { messageID: info.id, answers: isLoop ? this.#loop.answers + 1 : 0 }
    if (this.#loop.answers === LOOPS) this.stop({ type: 'loop', answers: LOOPS })
  }

  observeBusy(): void {
    this.#idleSince = undefined
    if (this.#cause) void this.#abort()
  }

  observeError(text: string): void {
    this.#error ??= text
    this.check()
  }

  observeDeleted(): void {
    void this.#end(DELETED)
  }

  /** Reads the messages for an end, and once more if something happens meanwhile. */
  check(): void {
    if (this.#state === 'over') return
    if (this.#check === 'none') {
      this.#check = 'reading'
      void this.#checkUntilCurrent()
    } else this.#check = 'outdated'
  }

  async #prompt(onStarted: () => void): Promise<void> {
    const { log, opencode } = this.#ports
    const { id, sessionID, promptIDs, prompt } = this.#task
    const message: Prompt = promptOf(this.#task, promptIDs[0], prompt)
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
    // Deleting a session does not stop what runs in it (contract 1.11).
    if (ending.type === 'deleted') await this.#options.abort()
    this.#resolve(outcomeOf(ending, this.#cause))
  }

  /** Awaits change the state, which the compiler does not see. */
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

  /** The ending that is proved by now. */
  async #findEnding(): Promise<Ending | undefined> {
    const first = await this.#read()
    if (this.#isOver()) return undefined
    if (first.idleMs === undefined) return first.ending
    // The end of the abort causes another check.
    if (this.#state === 'stopping') return undefined
    if (!this.#wasIdleFor(first.idleMs)) {
      this.#addDoubt(`seen idle: ${first.ending.type}, if it stays so for ${first.idleMs / 1000} s`)
      return undefined
    }
    if (await this.#isBusy()) {
      this.#addDoubt('seen idle, and at work again')
      return undefined
    }
    if (this.#isOver()) return undefined
    // The session is idle now, and the messages that were read before that may be out of date.
    const { ending, idleMs } = await this.#read()
    return idleMs === undefined || this.#wasIdleFor(idleMs) ? ending : undefined
  }

  /** The end that the messages show, and for how long the session must have been idle for it to be true. */
  async #read(): Promise<{ readonly ending: Ending; readonly idleMs: number | undefined }> {
    const { opencode } = this.#ports
    const { sessionID, maxSteps } = this.#task
    const patienceMs = this.#cause ? STAYS_IDLE_MS : this.#options.startTimeoutMs
    let messages: readonly StoredMessage[]
    try {
      messages = await opencode.messages(sessionID)
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      if (error.reason === 'notFound') return { ending: DELETED, idleMs: undefined }
      const message = `the session could not be read: ${errorText(error)}`
      return { ending: timedOut(message, { text: '', usage: NO_USAGE }), idleMs: patienceMs }
    }
    const promptIDs = this.#promptIDs()
    const verdict = judge(messages, promptIDs, this.#error, maxSteps)
    if (!verdict) {
      const { prompted, ...said } = readTranscript(messages, promptIDs)
      const what = prompted
        ? 'was given its prompt but did not finish an answer'
        : 'never received its prompt'
      const message = `the session ${what}, and was idle for ${Math.round(patienceMs / 1000)} s`
      return { ending: timedOut(message, said), idleMs: patienceMs }
    }
    const { ending, holds } = verdict
    if (this.#cause) {
      // The abort ended whatever the session was doing, unless its own end is certain.
      return holds === 'always'
        ? { ending, idleMs: undefined }
        : { ending: { ...ending, type: 'aborted' }, idleMs: STAYS_IDLE_MS }
    }
    // OpenCode aborts its sessions some time before it says that the instance ends (contract 9.4).
    if (ending.type === 'aborted') return { ending, idleMs: STAYS_IDLE_MS }
    // Another plugin may fall back to another model.
    if (ending.type === 'failed' && ending.failure.reason === 'error' && holds === 'always')
      return { ending, idleMs: GOES_ON_WITHIN_MS }
    return { ending, idleMs: { always: undefined, ifIdle: 0, ifStaysIdle: STAYS_IDLE_MS }[holds] }
  }

  /** The messages of ours that belong to the run; more may come while it goes on. */
  #promptIDs(): readonly string[] {
    return this.#ports.store.now(this.#task).promptIDs
  }

  /** Whether the session was idle for so long, as far as is known; if not yet, it is checked again then. */
  #wasIdleFor(idleMs: number): boolean {
    const { clock } = this.#ports
    const now = clock.monotonic()
    this.#idleSince ??= now
    const leftMs = this.#idleSince + idleMs - now
    if (leftMs <= 0) return true
    this.#cancelTimer()
    this.#cancelTimer = clock.after(leftMs, () => {
      // A session that was busy meanwhile causes a check with its next idle.
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

function timedOut(message: string, { text, usage }: Pick<Ending, 'text' | 'usage'>): Ending {
  return { type: 'failed', failure: { reason: 'timeout', message }, text, usage }
}
