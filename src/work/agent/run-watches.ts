/** Who is to look whether its child has finished? The events of a session and the poll of all wake its watch. */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import { errorText, type Event, type Opencode, type Part } from '../../host/opencode.ts'
import type { StatusPoll } from '../../host/status-poll.ts'
import { RunWatch, type Watched } from './run-watch.ts'

export class RunWatches {
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
  watch(watched: Watched): RunWatch {
    const watch = new RunWatch(watched, this.#opencode, this.#clock, this.#log, () => {
      if (this.#watches.get(watched.sessionID) === watch) this.#watches.delete(watched.sessionID)
      if (this.#watches.size > 0) return
      this.#stopPolling?.()
      this.#stopPolling = undefined
    })
    this.#watches.set(watched.sessionID, watch)
    this.#stopPolling ??= this.#statuses.subscribe((statuses) => {
      for (const [sessionID, each] of this.#watches) {
        if (sessionID in statuses) each.observeBusy()
        else each.check()
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

  /** For how many milliseconds nothing was heard of a session at work; `undefined` for any other. */
  silentMs(sessionID: string): number | undefined {
    return this.#watches.get(sessionID)?.silentMs
  }

  /** Something was heard of a session. Called for every part of every answer, so it does next to nothing. */
  observeActivity(sessionID: string, part?: Part): void {
    this.#watches.get(sessionID)?.observeActivity(part)
  }

  /** How many answers in a row got a session at work nowhere. */
  loopsOf(sessionID: string): number {
    return this.#watches.get(sessionID)?.loops ?? 0
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'session.status': {
        const watch = this.#watches.get(event.properties.sessionID)
        watch?.observeActivity()
        if (event.properties.status.type === 'idle') watch?.check()
        else watch?.observeBusy()
        return
      }
      case 'session.error': {
        const { sessionID, error } = event.properties
        if (sessionID !== undefined) this.#watches.get(sessionID)?.observeError(errorText(error))
        return
      }
      case 'message.updated':
        this.#watches.get(event.properties.info.sessionID)?.observeMessage(event.properties.info)
        return
      case 'session.deleted':
        this.#watches.get(event.properties.info.id)?.sessionDeleted()
        return
      default:
        return
    }
  }
}
