/**
 * Has the child finished? Events and the poll only wake the question; the child's messages answer it, because idle
 * alone lies: it also comes before a failed message is final, after somebody else's abort, and from the run before
 * (contract, traps 1 to 3). Whatever woke it, one path decides.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { errorText, HostError, type Event, type Opencode, type StoredMessage } from '../opencode.ts'
import type { StatusPoll } from '../status.ts'
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
export interface Watch {
  /** Resolves once the messages show that the run has ended. Never rejects. */
  readonly ending: Promise<Ending>
  /** Look at the messages now. */
  look(): void
  /** Ends the watch with an ending that the messages cannot show. */
  end(ending: Ending): void
}

export class Detector {
  readonly #opencode: Opencode
  readonly #statuses: StatusPoll
  readonly #clock: Clock
  readonly #log: Log
  readonly #watches = new Map<string, RunWatch>()
  #stopPolling: (() => void) | undefined

  constructor(ports: { opencode: Opencode; clock: Clock; log: Log; statuses: StatusPoll }) {
    this.#opencode = ports.opencode
    this.#statuses = ports.statuses
    this.#clock = ports.clock
    this.#log = ports.log
  }

  /** Arms the watch; to be called before the prompt is sent, so that nothing can happen unseen. */
  watch(watched: Watched): Watch {
    const watch = new RunWatch(watched, this.#opencode, this.#clock, this.#log, () => {
      if (this.#watches.get(watched.sessionID) === watch) this.#watches.delete(watched.sessionID)
      if (this.#watches.size > 0) return
      this.#stopPolling?.()
      this.#stopPolling = undefined
    })
    this.#watches.set(watched.sessionID, watch)
    this.#stopPolling ??= this.#statuses.subscribe((statuses) => {
      for (const [sessionID, each] of this.#watches) {
        if (sessionID in statuses) each.sawBusy()
        else each.look()
      }
    })
    return watch
  }

  /** Lets go of all that is watched; the endings are never told. */
  dispose(): void {
    for (const watch of this.#watches.values()) watch.abandon()
    this.#watches.clear()
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'session.status': {
        const watch = this.#watches.get(event.properties.sessionID)
        if (event.properties.status.type === 'idle') watch?.look()
        else watch?.sawBusy()
        return
      }
      case 'session.error': {
        const { sessionID, error } = event.properties
        if (sessionID !== undefined) this.#watches.get(sessionID)?.sawError(errorText(error))
        return
      }
      case 'session.deleted':
        this.#watches.get(event.properties.info.id)?.sessionDeleted()
        return
      default:
        return
    }
  }
}

class RunWatch implements Watch {
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

  end(ending: Ending): void {
    if (this.#looking === 'over') return
    this.abandon()
    this.#resolve(ending)
  }

  abandon(): void {
    this.#looking = 'over'
    this.#cancelTimer()
  }

  async #look(): Promise<void> {
    try {
      const messages = await this.#opencode.messages(this.#watched.sessionID)
      const ending = judge(messages, this.#watched.promptID, this.#error)
      // Unfinished and yet at work: not an end. A later idle wakes us again.
      const certain = ending?.type !== 'unfinished' || !(await this.#isBusy())
      if (ending && certain) {
        this.end(ending)
        return
      }
      if (!ending) await this.#waitIdle(messages)
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') {
        this.sessionDeleted()
        return
      }
      this.#log.warn(`could not read session ${this.#watched.sessionID}: ${errorText(error)}`)
    }
    if (this.#looking === 'over') return
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

  async #isBusy(): Promise<boolean> {
    const busy = this.#watched.sessionID in (await this.#opencode.statuses())
    if (busy) this.sawBusy()
    return busy
  }
}
