/**
 * Delivers one message of notices to one parent. The message keeps its ids, so that it can be sent again
 * while no turn follows. It is over when the parent's model has seen the message.
 *
 *   sending ⇄ sent → resting      a message of our own; `resume` sends a resting one again
 *   piggybacked ⇄ stored          parts of the user's message, or a message from before a restart
 *   any → over
 *
 * `resting` and `stored`: the parent's next turn reads the message from its history; nothing is sent.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type Statuses,
  type StoredMessage,
  type TextPart,
} from '../host/opencode.ts'
import { readBack } from '../host/read-back.ts'
import type { QuietGate } from './quiet-gate.ts'
import { ReceptionTracker } from './reception.ts'

export interface NoticeMessage {
  readonly parentID: string
  readonly messageID: string
  readonly parts: readonly TextPart[]
}

/**
 * `confirmed`: the parent's model has seen it. `gone`: no such parent exists. `closed`: the parent may not or
 * cannot be woken, and has not stored the message. `undone`: undone before the model saw it. `unanswered`: it
 * is on a message that starts no turn, as a plugin's without a reply, and the parent may be woken.
 */
export type DeliveryEnd = 'confirmed' | 'gone' | 'closed' | 'undone' | 'unanswered'

/** How a delivery begins. `piggybacked`: on a message that the user is sending; `stored`: before a restart. */
export type FirstStep = 'sending' | 'piggybacked' | 'stored'

export interface DeliveryPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly gate: Pick<QuietGate, 'admission'>
}

export interface DeliveryListeners {
  readonly onSent: () => void
  readonly onEnd: (end: DeliveryEnd) => void
}

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
/** First wait for the turn of an accepted message: a cold host needs up to 2 s (contract 2.3). */
const TURN_LIMIT_MS = 5000
/**
 * How often a message is sent to an idle parent that starts no turn: its model or agent may be gone, and each
 * send shows the user an error. After that, the message waits for the user's next one.
 */
const SENDS_WITHOUT_TURN = 5

export class Delivery {
  readonly message: NoticeMessage
  readonly #ports: DeliveryPorts
  readonly #on: DeliveryListeners
  readonly #reception: ReceptionTracker
  #step: FirstStep | 'sent' | 'resting' | 'over'
  #attempts = 0
  #sentAt: number
  /** Ends the pause before the next send; `undefined` while there is none. */
  #cancelPause: (() => void) | undefined

  constructor(ports: DeliveryPorts, message: NoticeMessage, step: FirstStep, on: DeliveryListeners) {
    this.message = message
    this.#ports = ports
    this.#step = step
    this.#sentAt = ports.clock.monotonic()
    this.#on = on
    this.#reception = new ReceptionTracker(message.messageID)
  }

  /** Whether this delivery sends its own message with this id. */
  sends(messageID: string): boolean {
    return !this.#isPiggybacked && this.message.messageID === messageID
  }

  get #isPiggybacked(): boolean {
    return this.#step === 'piggybacked' || this.#step === 'stored'
  }

  /** `sending`: not stored yet. `queued`: stored, but not seen by the parent's model. `past`: otherwise. */
  get place(): 'sending' | 'queued' | 'past' {
    if (this.#step === 'sending') return 'sending'
    if (this.#step !== 'sent' || this.#reception.isSeen) return 'past'
    return this.#reception.reception === 'missing' ? 'sending' : 'queued'
  }

  /** Whether the parent is known to have stored the message. */
  get isStored(): boolean {
    return this.#reception.reception !== 'missing'
  }

  /** Whether the delivery has to act, rather than only wait for the parent's next turn. */
  get isUnderWay(): boolean {
    return this.#step === 'sending' || this.#step === 'sent' || this.#step === 'piggybacked'
  }

  async send(): Promise<void> {
    const { parentID, messageID, parts } = this.message
    this.#attempts += 1
    this.#step = 'sending'
    try {
      const admitted = await this.#ports.gate.admission()
      if (this.#isOver()) return
      if (admitted.type === 'gone') {
        this.#end('gone')
        return
      }
      if (admitted.type === 'closed') {
        if (this.#attempts > 1) await this.#read()
        if (this.#step !== 'sending' || this.#settle()) return
        // The gate may have opened during the read.
        if ((await this.#ports.gate.admission()).type === 'closed') this.#rest()
        else void this.send()
        return
      }
      const { type: _, ...choice } = admitted
      await this.#ports.opencode.prompt(parentID, { messageID, ...choice, parts })
      if (this.#step !== 'sending') return
      this.#step = 'sent'
      this.#sentAt = this.#ports.clock.monotonic()
      this.#on.onSent()
    } catch (error) {
      if (this.#step !== 'sending') return
      if (error instanceof HostError && error.reason === 'notFound') {
        this.#end('gone')
        return
      }
      this.#ports.log.warn(`notice for ${parentID} not sent, attempt ${this.#attempts}: ${errorText(error)}`)
      this.#pause()
    }
  }

  /** Observes a created or changed message of the parent. */
  observeMessage(info: Message): void {
    this.#reception.observe(info)
    this.#settle()
  }

  /** Observes a removed message: OpenCode removes undone messages when the user writes again. */
  observeRemoval(messageID: string): void {
    if (messageID === this.message.messageID) this.#end('undone')
  }

  /** Stops if the user's message was never stored, as when a plugin refused it. Returns whether it did. */
  withdrawUnstored(): boolean {
    if (!this.#isPiggybacked || this.isStored) return false
    this.stop()
    return true
  }

  /** Ends the pause before a repeated send, because OpenCode can be reached again. */
  retryNow(): void {
    if (!this.#cancelPause) return
    this.#stopPause()
    void this.send()
  }

  /**
   * Observes the messages of the parent back to this one, if it is stored, after events were missed.
   *
   * @param wasStored whether it was known to be stored before the read: one that is stored during the read can be missing there
   */
  observeHistory(messages: readonly StoredMessage[], wasStored: boolean): void {
    if (wasStored && !messages.some(({ info }) => info.id === this.message.messageID)) {
      this.#end('undone')
      return
    }
    for (const { info } of messages) this.#reception.observe(info)
    this.#settle()
  }

  /** Reads an idle parent whose answer to our message was not observed, because events may be lost. */
  async observeStatuses(statuses: Statuses): Promise<void> {
    const step = this.#step
    if ((step !== 'sent' && step !== 'piggybacked') || this.message.parentID in statuses) return
    try {
      await this.#read()
      if (this.#settle() || this.#step !== step) return
      if (this.#ports.clock.monotonic() - this.#sentAt < this.#backOff(TURN_LIMIT_MS)) return
      if (step === 'piggybacked') await this.#endPiggyback()
      else if (this.#attempts < SENDS_WITHOUT_TURN) void this.send()
      else this.#rest()
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') this.#end('gone')
    }
  }

  /** Handles a user's message that no turn has followed. */
  async #endPiggyback(): Promise<void> {
    const { type } = await this.#ports.gate.admission()
    if (this.#step !== 'piggybacked') return
    if (type === 'gone') this.#end('gone')
    else if (type === 'open' && this.#reception.reception === 'unanswered') this.#end('unanswered')
    else this.#step = 'stored'
  }

  /**
   * Called when the gate opens. Sends a stored, unread message again, because sending it starts its turn. On a message of
   * the user, waits again for the turn that no closed gate prevents any more.
   */
  resume(): void {
    if (this.#reception.reception !== 'unanswered') return
    if (this.#step === 'resting') {
      this.#attempts = 0
      void this.send()
    } else if (this.#step === 'stored') {
      this.#step = 'piggybacked'
      this.#sentAt = this.#ports.clock.monotonic()
    }
  }

  /** Abandons the message. */
  stop(): void {
    this.#step = 'over'
    this.#stopPause()
  }

  /** Pauses sending: the parent's next turn reads a stored message. A missing one ends the delivery. */
  #rest(): void {
    if (!this.isStored) this.#end('closed')
    else this.#step = 'resting'
  }

  async #read(): Promise<void> {
    const { parentID, messageID } = this.message
    const wasStored = this.isStored
    const isOurs = ({ info }: StoredMessage): boolean => info.id === messageID
    const messages = await readBack(this.#ports.opencode, parentID, (newest) => newest.some(isOurs))
    this.observeHistory(messages, wasStored)
  }

  #settle(): boolean {
    if (this.#isOver()) return true
    const { reception } = this.#reception
    if (reception === 'answered') {
      // Events of a turn can arrive before OpenCode's answer to the prompt that began it.
      if (this.#step === 'sending') this.#on.onSent()
      this.#end('confirmed')
    } else if (reception === 'interrupted') {
      this.#stopPause()
      this.#step = this.#isPiggybacked ? 'stored' : 'resting'
    } else return false
    return true
  }

  #isOver(): boolean {
    return this.#step === 'over'
  }

  #end(end: DeliveryEnd): void {
    if (this.#isOver()) return
    this.stop()
    this.#on.onEnd(end)
  }

  #pause(): void {
    this.#cancelPause = this.#ports.clock.after(this.#backOff(FIRST_PAUSE_MS), () => {
      this.#cancelPause = undefined
      void this.send()
    })
  }

  #stopPause(): void {
    this.#cancelPause?.()
    this.#cancelPause = undefined
  }

  #backOff(firstMs: number): number {
    return Math.min(LONGEST_PAUSE_MS, firstMs * 2 ** Math.max(0, this.#attempts - 1))
  }
}
