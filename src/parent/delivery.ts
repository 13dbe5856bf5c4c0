/**
 * One message of notices on its way to one parent. Its ids are frozen when it is first sent, so that it can be sent again
 * while no turn follows. It is over when the parent's model has seen it.
 *
 *   sending ⇄ sent → resting      a message of our own; `resume` sends a resting one again
 *   piggybacked → stored          parts of a message of the user's, or a message from before a restart
 *   any → over
 *
 * `resting` and `stored`: the message is in the parent's history and waits for the parent's next turn; nothing is sent.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type Statuses,
  type TextPart,
} from '../host/opencode.ts'
import type { Gate } from './gate.ts'
import { ReceptionTracker } from './reception.ts'

export interface NoticeMessage {
  readonly parentID: string
  readonly messageID: string
  readonly parts: readonly TextPart[]
}

/**
 * `confirmed`: the parent's model has seen it. `gone`: there is no such parent. `closed`: the parent may not or cannot be woken,
 * and nothing of it is stored there. `undone`: the user has undone it before it was seen. `unanswered`: the message that it
 * is part of starts no turn, as a plugin's message without a reply, and the parent may be woken.
 */
export type DeliveryEnd = 'confirmed' | 'gone' | 'closed' | 'undone' | 'unanswered'

export interface DeliveryListeners {
  readonly onSent: () => void
  readonly onEnd: (end: DeliveryEnd) => void
}

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
/** How long a message that was taken over may stay without a turn: a cold host needs up to 2 s (contract 2.3). */
const TURN_LIMIT_MS = 5000
/**
 * How often it is sent to a parent that is idle and takes no turn upon it: its model or agent may be gone, and each
 * send shows the user an error. Then it is left to the user's next message.
 */
const SENDS_WITHOUT_TURN = 5

export class Delivery {
  readonly message: NoticeMessage
  readonly #opencode: Opencode
  readonly #gate: Pick<Gate, 'admission'>
  readonly #clock: Clock
  readonly #log: Log
  readonly #on: DeliveryListeners
  readonly #reception: ReceptionTracker
  #step: 'sending' | 'sent' | 'resting' | 'piggybacked' | 'stored' | 'over'
  #attempts = 0
  #sentAt: number
  #cancelPause = (): void => {}

  /** @param step `piggybacked` on a message that the user is just sending; `stored` before a restart */
  constructor(
    ports: { opencode: Opencode; clock: Clock; log: Log; gate: Pick<Gate, 'admission'> },
    message: NoticeMessage,
    step: 'sending' | 'piggybacked' | 'stored',
    on: DeliveryListeners,
  ) {
    this.message = message
    this.#opencode = ports.opencode
    this.#gate = ports.gate
    this.#clock = ports.clock
    this.#log = ports.log
    this.#step = step
    this.#sentAt = ports.clock.monotonic()
    this.#on = on
    this.#reception = new ReceptionTracker(message.messageID)
  }

  /** Whether it is sent as this message of its own. */
  sends(messageID: string): boolean {
    return !this.#isPiggybacked && this.message.messageID === messageID
  }

  get #isPiggybacked(): boolean {
    return this.#step === 'piggybacked' || this.#step === 'stored'
  }

  /** Whether it is on its way into the parent, is stored there and not yet seen by its model, or neither any more. */
  get place(): 'sending' | 'queued' | 'past' {
    if (this.#step === 'sending') return 'sending'
    if (this.#step !== 'sent' || this.#reception.isSeen) return 'past'
    return this.#reception.reception === 'missing' ? 'sending' : 'queued'
  }

  /** Whether something is still to be done for it, other than to wait for the parent's next turn. */
  get isUnderWay(): boolean {
    return this.#step === 'sending' || this.#step === 'sent' || this.#step === 'piggybacked'
  }

  async send(): Promise<void> {
    const { parentID, messageID, parts } = this.message
    this.#attempts += 1
    this.#step = 'sending'
    try {
      const admitted = await this.#gate.admission()
      if (this.#isOver()) return
      if (admitted.type === 'gone') {
        this.#end('gone')
        return
      }
      if (admitted.type === 'closed') {
        if (this.#attempts > 1) await this.#read()
        if (this.#step !== 'sending' || this.#settle()) return
        // The way may have been opened while we read.
        if ((await this.#gate.admission()).type === 'closed') this.#rest()
        else void this.send()
        return
      }
      const { type: _, ...choice } = admitted
      await this.#opencode.prompt(parentID, { messageID, ...choice, parts })
      if (this.#step !== 'sending') return
      this.#step = 'sent'
      this.#sentAt = this.#clock.monotonic()
      this.#on.onSent()
    } catch (error) {
      if (this.#step !== 'sending') return
      if (error instanceof HostError && error.reason === 'notFound') {
        this.#end('gone')
        return
      }
      this.#log.warn(`notice for ${parentID} not sent, attempt ${this.#attempts}: ${errorText(error)}`)
      this.#pause()
    }
  }

  /** A message of the parent was created or has changed. */
  observeMessage(info: Message): void {
    this.#reception.observe(info)
    this.#settle()
  }

  /** A message of the parent was removed, which happens when the user goes on from where messages were undone. */
  observeRemoval(messageID: string): void {
    if (messageID === this.message.messageID) this.#end('undone')
  }

  /** Gives up where the user's message was never stored, as when another plugin refused it; true where that is so. */
  withdrawUnstored(): boolean {
    if (!this.#isPiggybacked || this.#reception.reception !== 'missing') return false
    this.stop()
    return true
  }

  /** The net: a parent that is idle although our message was never seen to be answered is looked at. */
  async observeStatuses(statuses: Statuses): Promise<void> {
    const step = this.#step
    if ((step !== 'sent' && step !== 'piggybacked') || this.message.parentID in statuses) return
    try {
      await this.#read()
      if (this.#settle() || this.#step !== step) return
      if (this.#clock.monotonic() - this.#sentAt < this.#backOff(TURN_LIMIT_MS)) return
      if (step === 'piggybacked') await this.#endPiggyback()
      else if (this.#attempts < SENDS_WITHOUT_TURN) void this.send()
      else this.#rest()
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') this.#end('gone')
    }
  }

  /** No turn has followed the user's message. */
  async #endPiggyback(): Promise<void> {
    const { type } = await this.#gate.admission()
    if (this.#step !== 'piggybacked') return
    if (type === 'gone') this.#end('gone')
    else if (type === 'open' && this.#reception.reception === 'unanswered') this.#end('unanswered')
    else this.#step = 'stored'
  }

  /** The parent may be woken again: what is stored there unread is sent again, which starts its turn. */
  resume(): void {
    if (this.#step !== 'resting' || this.#reception.reception !== 'unanswered') return
    this.#attempts = 0
    void this.send()
  }

  /** Gives the message up. */
  stop(): void {
    this.#step = 'over'
    this.#cancelPause()
  }

  /** It is not sent any more for now. What is stored of it already is read with the parent's next turn. */
  #rest(): void {
    if (this.#reception.reception === 'missing') this.#end('closed')
    else this.#step = 'resting'
  }

  async #read(): Promise<void> {
    for (const { info } of await this.#opencode.messages(this.message.parentID)) this.#reception.observe(info)
  }

  #settle(): boolean {
    if (this.#isOver()) return true
    const { reception } = this.#reception
    if (reception === 'answered') {
      // The events of the turn can be faster than the answer to the prompt that began it.
      if (this.#step === 'sending') this.#on.onSent()
      this.#end('confirmed')
    } else if (reception === 'interrupted') {
      this.#cancelPause()
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
    this.#cancelPause = this.#clock.after(this.#backOff(FIRST_PAUSE_MS), () => void this.send())
  }

  #backOff(firstMs: number): number {
    return Math.min(LONGEST_PAUSE_MS, firstMs * 2 ** Math.max(0, this.#attempts - 1))
  }
}
