/**
 * Follows OpenCode's event stream from another process, where no hook brings the events. It subscribes again whenever the
 * stream has ended, has broken, or is silent, until the instance ends.
 *
 *   connecting ⇄ connected
 *
 * `connecting`: a subscription is being made, or the next one waits. `connected`: OpenCode has confirmed the
 * subscription, so that no later event is missed. Earlier ones may be, at each confirmation.
 */
import type { Clock } from '../clock.ts'
import { pause } from '../pause.ts'
import type { Log } from './log.ts'
import { errorText, type Event, type HostError, type Opencode } from './opencode.ts'

interface Ports {
  readonly opencode: Pick<Opencode, 'events'>
  readonly clock: Clock
  readonly log: Log
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

export interface FeedListeners {
  readonly onEvent: (event: Event) => void
  /** Called when OpenCode has confirmed a subscription: earlier events may be missing. */
  readonly onConnected: () => void
  /** Called each time that OpenCode refuses a subscription. */
  readonly onRefused: (error: HostError) => void
}

/** Why a subscription has ended; `error`: the error of its call. */
interface End {
  readonly message: string
  readonly error?: HostError
}

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 5000
/** OpenCode never answers a request that comes after it has bound its port and before it is ready (contract 16.6). */
const CONFIRMED_WITHIN_MS = 5000
/** Two missing heartbeats: OpenCode sends one every 10 s (contract 16.2). */
const SILENT_MS = 25_000

export class EventSubscription {
  readonly #ports: Ports
  readonly #on: FeedListeners
  #state: 'connecting' | 'connected' = 'connecting'
  /** When the last event came, on the monotonic clock. */
  #heardAt = 0

  constructor(ports: Ports, on: FeedListeners) {
    this.#ports = ports
    this.#on = on
  }

  /**
   * Starts to follow; call it once. Resolves when OpenCode has confirmed the first subscription, however long the server is
   * away. Rejects with a `HostError` if the server refuses the client, or is no OpenCode, and goes on trying; rejects with
   * the reason of `disposal` if the instance ends first.
   */
  follow(): Promise<void> {
    return new Promise((resolve, reject) => void this.#follow(resolve, reject))
  }

  /** Whether OpenCode has confirmed the subscription. A method, because the compiler narrows a state that was read before an await. */
  isConnected(): boolean {
    return this.#state === 'connected'
  }

  async #follow(onFirst: () => void, onRefused: (reason: unknown) => void): Promise<void> {
    const { clock, disposal, log } = this.#ports
    let pauseMs = FIRST_PAUSE_MS
    while (!disposal.aborted) {
      const { message, error } = await this.#subscribe(onFirst)
      if (disposal.aborted) break
      if (this.isConnected()) {
        this.#state = 'connecting'
        pauseMs = FIRST_PAUSE_MS
        log.warn(`${message}; subscribing again`)
      }
      if (error && error.reason !== 'noAnswer') this.#on.onRefused(error)
      // Any other refusal, such as that of a proxy before a server that starts, can pass.
      if (error?.reason === 'unauthorized' || error?.reason === 'notFound') onRefused(error)
      // Nothing else keeps the process alive while the server is away.
      await pause(clock, pauseMs, [disposal], { keepsAlive: true })
      pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)
    }
    onRefused(disposal.reason)
  }

  /** Resolves when the subscription is over. */
  async #subscribe(onFirst: () => void): Promise<End> {
    const { clock, disposal, opencode } = this.#ports
    const silence = new AbortController()
    this.#heardAt = clock.monotonic()
    const stopWatching = this.#watch(() => silence.abort())
    const onEvent = (event: Event): void => {
      this.#heardAt = clock.monotonic()
      if (event.type === 'server.connected') {
        this.#state = 'connected'
        this.#try(() => this.#on.onConnected())
        onFirst()
      }
      this.#try(() => this.#on.onEvent(event))
    }
    try {
      await opencode.events(onEvent, AbortSignal.any([silence.signal, disposal]))
      const isSilent = silence.signal.aborted
      return {
        message: isSilent
          ? `OpenCode's event stream was silent for ${SILENT_MS / 1000} s`
          : 'OpenCode ended its event stream',
      }
    } catch (error) {
      return { message: errorText(error), error: error as HostError }
    } finally {
      stopWatching()
    }
  }

  /** Calls `onSilent` once no event has come for too long. Returns the function that stops watching. */
  #watch(onSilent: () => void): () => void {
    const { clock } = this.#ports
    let cancel = (): void => {}
    const watch = (): void => {
      const limitMs = this.isConnected() ? SILENT_MS : CONFIRMED_WITHIN_MS
      const leftMs = this.#heardAt + limitMs - clock.monotonic()
      if (leftMs <= 0) onSilent()
      else cancel = clock.after(leftMs, watch)
    }
    watch()
    return () => cancel()
  }

  /** A listener that throws must not end the stream. */
  #try(listen: () => void): void {
    try {
      listen()
    } catch (error) {
      this.#ports.log.warn(`an event was not handled: ${errorText(error)}`)
    }
  }
}
