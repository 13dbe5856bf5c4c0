/**
 * Has the child finished? Events and the poll only wake the question; the child's messages answer it, because idle
 * alone lies: it also comes before a failed message is final, after somebody else's abort, and from the run before
 * (contract, traps 1 to 3). Whatever woke it, one path decides.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { errorText, HostError, type Opencode, type StoredMessage } from '../opencode.ts'
import { NO_USAGE } from '../task/task.ts'
import { judge, type Ending } from './evidence.ts'
import { readTranscript } from './transcript.ts'

export interface Watched {
  readonly sessionID: string
  /** The message that started the run. */
  readonly promptID: string
  /** How long the session may be idle without a final answer before the run counts as failed. */
  readonly idleLimitMs: () => number
  /** The session was seen at work. */
  readonly onBusy?: () => void
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
  #cancelTimer = (): void => {}
  #looking: 'no' | 'yes' | 'again' | 'over' = 'no'

  constructor(watched: Watched, opencode: Opencode, clock: Clock, log: Log, onEnd: () => void) {
    this.#watched = watched
    this.#opencode = opencode
    this.#clock = clock
    this.#log = log
    let resolve: (ending: Ending) => void = () => {}
    this.ending = new Promise((resolveEnding) => {
      resolve = resolveEnding
    })
    this.#resolve = (ending) => {
      onEnd()
      resolve(ending)
    }
  }

  /** Looks at the messages, and again if called meanwhile. */
  look(): void {
    switch (this.#looking) {
      case 'no':
        this.#looking = 'yes'
        void this.#look()
        return
      case 'yes':
        // What woke us may be newer than what is being read.
        this.#looking = 'again'
        return
      case 'again':
      case 'over':
        return
    }
  }

  sawBusy(): void {
    this.#idleSince = undefined
    this.#watched.onBusy?.()
  }

  sawError(text: string): void {
    this.#error ??= text
    this.look()
  }

  sessionDeleted(): void {
    this.end({ type: 'deleted', text: '', usage: NO_USAGE })
  }

  /** Ends the watch with an ending that the messages cannot show. */
  end(ending: Ending): void {
    if (this.#isOver()) return
    this.abandon()
    this.#resolve(ending)
  }

  /** Ends the watch and tells nobody. */
  abandon(): void {
    this.#looking = 'over'
    this.#cancelTimer()
  }

  async #look(): Promise<void> {
    try {
      const messages = await this.#opencode.messages(this.#watched.sessionID)
      if (this.#isOver()) return
      const verdict = judge(messages, this.#watched.promptID, this.#error)
      if (!verdict) await this.#waitIdle(messages)
      else if (verdict.holds === 'always' || !(await this.#isBusy())) this.end(verdict.ending)
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') {
        this.sessionDeleted()
        return
      }
      this.#log.warn(`could not read session ${this.#watched.sessionID}: ${errorText(error)}`)
    }
    if (this.#isOver()) return
    const again = this.#looking === 'again'
    this.#looking = 'no'
    if (again) this.look()
  }

  /** Nothing final yet. A session that stays idle like that for too long will never answer. */
  async #waitIdle(messages: readonly StoredMessage[]): Promise<void> {
    const now = this.#clock.now()
    this.#idleSince ??= now
    const { promptID, idleLimitMs } = this.#watched
    const limit = idleLimitMs()
    const left = this.#idleSince + limit - now
    if (left > 0) {
      this.#cancelTimer()
      this.#cancelTimer = this.#clock.after(left, () => {
        // Busy meanwhile: then its idle will wake us.
        if (this.#idleSince !== undefined) this.look()
      })
      return
    }
    // The events said idle, and they may have lost a busy. Before a judgement that cannot be taken back, ask.
    if (await this.#isBusy()) return
    const { text, usage, prompted } = readTranscript(messages, promptID)
    const what = prompted ? 'was given its prompt but did not finish an answer' : 'never received its prompt'
    const message = `the session ${what}, and was idle for ${Math.round(limit / 1000)} s`
    this.end({ type: 'failed', failure: { reason: 'timeout', message }, text, usage })
  }

  #isOver(): boolean {
    return this.#looking === 'over'
  }

  async #isBusy(): Promise<boolean> {
    const busy = this.#watched.sessionID in (await this.#opencode.statuses())
    if (busy) this.sawBusy()
    return busy
  }
}
