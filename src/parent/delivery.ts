/**
 * One message of notices on its way to one parent: frozen when it is first sent, sent again with the same ids while
 * no turn follows, over when the parent's model has seen it.
 *
 *   sending ⇄ sent → over
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type Statuses,
  type TextPart,
} from '../opencode.ts'
import type { Gate } from './gate.ts'
import { ReceptionTracker } from './reception.ts'

export interface Letter {
  readonly parentID: string
  readonly messageID: string
  readonly parts: readonly TextPart[]
}

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
/** How long a message that was taken over may stay without a turn: a cold host needs up to 2 s (contract 2.3). */
const TURN_LIMIT_MS = 5000

export class Delivery {
  readonly letter: Letter
  readonly #opencode: Opencode
  readonly #gate: Gate
  readonly #clock: Clock
  readonly #log: Log
  readonly #onOver: () => void
  readonly #reception: ReceptionTracker
  #step: 'sending' | 'sent' | 'over' = 'sending'
  #attempts = 0
  #sentAt = 0
  #cancelPause = (): void => {}

  constructor(
    ports: { opencode: Opencode; clock: Clock; log: Log; gate: Gate },
    letter: Letter,
    onOver: () => void,
  ) {
    this.letter = letter
    this.#opencode = ports.opencode
    this.#gate = ports.gate
    this.#clock = ports.clock
    this.#log = ports.log
    this.#onOver = onOver
    this.#reception = new ReceptionTracker(letter.messageID)
  }

  async send(): Promise<void> {
    const { parentID, messageID, parts } = this.letter
    this.#attempts += 1
    this.#step = 'sending'
    try {
      const admitted = await this.#gate.admission(parentID)
      if (this.#isOver()) return
      if (admitted.type === 'gone') {
        this.#end()
        return
      }
      if (admitted.type === 'reverted') {
        this.#pause()
        return
      }
      const { type: _, ...choice } = admitted
      await this.#opencode.prompt(parentID, { messageID, ...choice, parts })
      if (this.#isOver()) return
      this.#step = 'sent'
      this.#sentAt = this.#clock.now()
    } catch (error) {
      if (this.#isOver()) return
      if (error instanceof HostError && error.reason === 'notFound') {
        this.#end()
        return
      }
      this.#log.warn(`notice for ${parentID} not sent, attempt ${this.#attempts}: ${errorText(error)}`)
      this.#pause()
    }
  }

  /** A message of the parent was created or has changed. */
  sawMessage(info: Message): void {
    this.#reception.note(info)
    this.#settle()
  }

  /** The net: a parent that is idle although our message was never seen to be answered is looked at. */
  async sawStatuses(statuses: Statuses): Promise<void> {
    if (this.#step !== 'sent' || this.letter.parentID in statuses) return
    try {
      for (const { info } of await this.#opencode.messages(this.letter.parentID)) this.#reception.note(info)
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') this.#end()
      return
    }
    if (this.#settle() || this.#step !== 'sent') return
    if (this.#clock.now() - this.#sentAt >= TURN_LIMIT_MS) void this.send()
  }

  /** Gives the letter up. */
  stop(): void {
    this.#step = 'over'
    this.#cancelPause()
  }

  #settle(): boolean {
    const { reception } = this.#reception
    const settled = reception === 'answered' || reception === 'interrupted'
    if (settled) this.#end()
    return settled
  }

  #isOver(): boolean {
    return this.#step === 'over'
  }

  #end(): void {
    if (this.#isOver()) return
    this.stop()
    this.#onOver()
  }

  #pause(): void {
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#attempts - 1))
    this.#cancelPause = this.#clock.after(pause, () => void this.send())
  }
}
