/**
 * Has the child finished? Events and the poll only wake the question; the child's messages answer it, because idle
 * alone lies: it also comes before a failed message is final, after somebody else's abort, and from the run before
 * (contract, traps 1 to 3). Whatever woke it, one path decides.
 */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type Part,
  type StoredMessage,
} from '../../host/opencode.ts'
import { NO_USAGE } from '../../task/task.ts'
import { judge, type Ending } from './evidence.ts'
import { GOES_ON_WITHIN_MS, readTranscript } from './transcript.ts'

export interface Watched {
  readonly sessionID: string
  /** The messages of ours that belong to the run, the oldest first; more may come while it is watched. */
  readonly promptIDs: () => readonly string[]
  /** How many model calls the agent may make in the run; absent where there is no limit. */
  readonly maxSteps?: number
  /** How long the session may be idle without a final answer before the run counts as failed. */
  readonly startTimeoutMs: number
  /** Whether we are stopping the session, or have stopped it. */
  readonly stop: () => 'none' | 'underWay' | 'done'
  /** The session was seen at work. */
  readonly onBusy?: () => void
  /** The model has answered so many times in a row without getting anywhere: the host would ask it for ever. */
  readonly onLoop?: (answers: number) => void
  /** Something was seen that may be the end, and is not believed yet. */
  readonly onDoubt?: (what: string) => void
}

/**
 * How long an idle session must stay so before we believe that nothing more comes of a message that may be on its way:
 * an abort does not prevent its turn, which then begins late (contract 4.8, 2.3).
 */
const STAYS_IDLE_MS = 2000

/** So many answers in a row without a tool call or a finish that is known, and the run is given up. */
const LOOPS = 5
/** Finishes upon which the host does not ask again, whether or not the answer holds a tool call. */
const KNOWN_FINISHES: ReadonlySet<string> = new Set(['stop', 'length', 'content-filter', 'error'])

const DELETED: Ending = { type: 'deleted', text: '', usage: NO_USAGE }

function timedOut(message: string, { text, usage }: Pick<Ending, 'text' | 'usage'>): Ending {
  return { type: 'failed', failure: { reason: 'timeout', message }, text, usage }
}

/** A run under watch. */
export class RunWatch {
  /** Resolves once the messages show that the run has ended. Never rejects. */
  readonly ending: Promise<Ending>
  readonly #watched: Watched
  readonly #opencode: Opencode
  readonly #clock: Clock
  readonly #log: Log
  readonly #resolve: (ending: Ending) => void
  /** What the host said of the run outside of its messages. */
  #error: string | undefined
  #idleSince: number | undefined
  #heardAt: number
  /** The newest of its answers that got nowhere, and how many there were in a row. */
  #loop = { messageID: '', answers: 0 }
  #cancelTimer = (): void => {}
  #checking: 'no' | 'yes' | 'again' | 'over' = 'no'

  constructor(watched: Watched, opencode: Opencode, clock: Clock, log: Log, onEnd: () => void) {
    this.#watched = watched
    this.#opencode = opencode
    this.#clock = clock
    this.#log = log
    this.#heardAt = clock.monotonic()
    let resolve: (ending: Ending) => void = () => {}
    this.ending = new Promise((resolveEnding) => {
      resolve = resolveEnding
    })
    this.#resolve = (ending) => {
      onEnd()
      resolve(ending)
    }
  }

  /** For how many milliseconds nothing was heard of the session. */
  get silentMs(): number {
    return this.#clock.monotonic() - this.#heardAt
  }

  observeActivity(part?: Part): void {
    this.#heardAt = this.#clock.monotonic()
    if (part?.type === 'tool') this.#loop = { messageID: part.messageID, answers: 0 }
  }

  /** How many answers in a row got nowhere. */
  get loops(): number {
    return this.#loop.answers
  }

  /**
   * Counts the answers that get nowhere: OpenCode asks the model again after one without a finish, with a finish that it does
   * not know, and with `tool-calls` but no tool call (seen). A tool call resets the count (`hear`).
   */
  observeMessage(info: Message): void {
    if (info.role !== 'assistant' || info.time.completed === undefined || info.error || info.summary) return
    if (info.id === this.#loop.messageID) return
    const isLoop = info.finish === undefined || !KNOWN_FINISHES.has(info.finish)
    this.#loop = { messageID: info.id, answers: isLoop ? this.#loop.answers + 1 : 0 }
    if (this.#loop.answers === LOOPS) this.#watched.onLoop?.(LOOPS)
  }

  /** Looks at the messages, and again if called meanwhile. */
  check(): void {
    switch (this.#checking) {
      case 'no':
        this.#checking = 'yes'
        void this.#checkUntilSettled()
        return
      case 'yes':
        // What woke us may be newer than what is being read.
        this.#checking = 'again'
        return
      case 'again':
      case 'over':
        return
    }
  }

  observeBusy(): void {
    this.#idleSince = undefined
    this.#watched.onBusy?.()
  }

  observeError(text: string): void {
    this.#error ??= text
    this.check()
  }

  sessionDeleted(): void {
    this.end(DELETED)
  }

  /** What was idle until now says nothing any more: something new was begun. */
  forgetIdle(): void {
    this.#idleSince = undefined
  }

  get isOver(): boolean {
    return this.#checking === 'over'
  }

  /** Ends the watch with an ending that the messages cannot show. */
  end(ending: Ending): void {
    if (this.isOver) return
    this.abandon()
    this.#resolve(ending)
  }

  /** Ends the watch and tells nobody. */
  abandon(): void {
    this.#checking = 'over'
    this.#cancelTimer()
  }

  async #checkUntilSettled(): Promise<void> {
    try {
      const ended = await this.#conclude()
      if (ended) this.end(ended)
    } catch (error) {
      this.#log.warn(`could not look at session ${this.#watched.sessionID}: ${errorText(error)}`)
    }
    if (this.isOver) return
    const again = this.#checking === 'again'
    this.#checking = 'no'
    if (again) this.check()
  }

  /** The ending that can be told by now. */
  async #conclude(): Promise<Ending | undefined> {
    const first = await this.#read()
    // Abandoned meanwhile: nobody wants to know any more.
    if (this.isOver) return undefined
    if (first.idleMs === undefined) return first.ending
    // We are called again when it is done.
    if (this.#watched.stop() === 'underWay') return undefined
    if (!this.#wasIdleFor(first.idleMs)) {
      this.#watched.onDoubt?.(`seen idle: ${first.ending.type}, if it stays so for ${first.idleMs / 1000} s`)
      return undefined
    }
    if (await this.#isBusy()) {
      this.#watched.onDoubt?.('seen idle, and at work again')
      return undefined
    }
    if (this.isOver) return undefined
    // It is idle now, and what was read before that may be out of date.
    const { ending, idleMs } = await this.#read()
    return idleMs === undefined || this.#wasIdleFor(idleMs) ? ending : undefined
  }

  /** What the messages show, and for how long the session must have been idle for that to be the end. */
  async #read(): Promise<{ readonly ending: Ending; readonly idleMs: number | undefined }> {
    const { sessionID, promptIDs, maxSteps, stop, startTimeoutMs } = this.#watched
    const patienceMs = stop() === 'none' ? startTimeoutMs : STAYS_IDLE_MS
    let messages: readonly StoredMessage[]
    try {
      messages = await this.#opencode.messages(sessionID)
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      if (error.reason === 'notFound') return { ending: DELETED, idleMs: undefined }
      const what = `the session could not be read: ${errorText(error)}`
      return { ending: timedOut(what, { text: '', usage: NO_USAGE }), idleMs: patienceMs }
    }
    const verdict = judge(messages, promptIDs(), this.#error, maxSteps)
    if (!verdict) {
      const { prompted, ...said } = readTranscript(messages, promptIDs())
      const what = prompted
        ? 'was given its prompt but did not finish an answer'
        : 'never received its prompt'
      const message = `the session ${what}, and was idle for ${Math.round(patienceMs / 1000)} s`
      return { ending: timedOut(message, said), idleMs: patienceMs }
    }
    const { ending, holds } = verdict
    if (holds !== 'always' && stop() !== 'none') {
      // Whatever it was at, it was stopped.
      return { ending: { ...ending, type: 'aborted' }, idleMs: STAYS_IDLE_MS }
    }
    if (stop() !== 'none') return { ending, idleMs: undefined }
    // The host aborts what runs some time before it says that the instance ends (contract 9.4).
    if (ending.type === 'aborted') return { ending, idleMs: STAYS_IDLE_MS }
    // Another plugin may fall back to another model.
    if (ending.type === 'failed' && ending.failure.reason === 'error' && holds === 'always')
      return { ending, idleMs: GOES_ON_WITHIN_MS }
    return { ending, idleMs: { always: undefined, ifIdle: 0, ifStaysIdle: STAYS_IDLE_MS }[holds] }
  }

  /** Whether the session was idle for so long, as far as we were told; if not yet, it is looked at again then. */
  #wasIdleFor(idleMs: number): boolean {
    const now = this.#clock.monotonic()
    this.#idleSince ??= now
    const left = this.#idleSince + idleMs - now
    if (left <= 0) return true
    this.#cancelTimer()
    this.#cancelTimer = this.#clock.after(left, () => {
      // Busy meanwhile: then its idle will wake us.
      if (this.#idleSince !== undefined) this.check()
    })
    return false
  }

  async #isBusy(): Promise<boolean> {
    const busy = this.#watched.sessionID in (await this.#opencode.statuses())
    if (busy) this.observeBusy()
    return busy
  }
}
