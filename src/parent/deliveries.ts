/** The open deliveries of one parent, each with its notices that are still owed. */
import type { MessageToRead } from '../host/message.ts'
import type { Message, StoredMessage } from '../host/opencode.ts'
import type { StatusPoll } from '../host/status-poll.ts'
import {
  Delivery,
  type DeliveryEnd,
  type DeliveryPorts,
  type FirstStep,
  type NoticeMessage,
} from './delivery.ts'
import type { Admission } from './quiet-gate.ts'
import { noticeKey, type Notice } from './notice.ts'

interface Ports extends Omit<DeliveryPorts, 'gate'> {
  readonly statuses: StatusPoll
  /** Resolves with whether a message may be sent now. `owed`: its notices, of which some may be settled meanwhile. */
  readonly admission: (owed: () => readonly Notice[]) => Promise<Admission>
}

interface Listeners {
  readonly onSent: (notices: readonly Notice[]) => void
  readonly onEnd: (end: DeliveryEnd, notices: readonly Notice[], message: NoticeMessage) => void
}

interface OpenDelivery {
  readonly delivery: Delivery
  notices: readonly Notice[]
}

export class Deliveries {
  readonly #ports: Ports
  readonly #on: Listeners
  readonly #open = new Set<OpenDelivery>()
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, on: Listeners) {
    this.#ports = ports
    this.#on = on
  }

  /** Opens a delivery; one that begins as `sending` sends its message. */
  open(message: NoticeMessage, notices: readonly Notice[], step: FirstStep): Delivery {
    const gate = { admission: () => this.#ports.admission(() => opened.notices) }
    const delivery = new Delivery({ ...this.#ports, gate }, message, step, {
      onSent: () => this.#on.onSent(opened.notices),
      onEnd: (end) => {
        this.#open.delete(opened)
        this.#poll()
        this.#on.onEnd(end, opened.notices, message)
      },
    })
    const opened: OpenDelivery = { delivery, notices }
    this.#open.add(opened)
    this.#poll()
    return delivery
  }

  get places(): ReadonlySet<Delivery['place']> {
    return new Set([...this.#open].map(({ delivery }) => delivery.place))
  }

  get notices(): readonly Notice[] {
    return [...this.#open].flatMap(({ notices }) => notices)
  }

  /** The bytes of messages that the parent has not read. */
  get unreadBytes(): number {
    const unread = [...this.#open].filter(({ delivery }) => delivery.place !== 'past')
    return unread.reduce((sum, { delivery }) => sum + bytesOf(delivery.message), 0)
  }

  /** Whether a delivery sends the message with this id. */
  sends(messageID: string): boolean {
    return [...this.#open].some(({ delivery }) => delivery.sends(messageID))
  }

  /** Sends stored, unread messages again, because the gate has opened. */
  resume(): void {
    for (const { delivery } of this.#open) delivery.resume()
    this.#poll()
  }

  /** Repeats the sends that OpenCode did not answer, because it can be reached again. */
  retryNow(): void {
    for (const { delivery } of this.#open) delivery.retryNow()
  }

  /** The ids of the messages that the parent has stored. */
  get storedIDs(): readonly string[] {
    return [...this.#open].flatMap(({ delivery }) => (delivery.isStored ? delivery.message.messageID : []))
  }

  /** As `Outbox.observeHistory`. */
  observeHistory(messages: readonly StoredMessage[], stored: readonly string[]): void {
    for (const { delivery } of this.#open)
      delivery.observeHistory(messages, stored.includes(delivery.message.messageID))
  }

  /** Drops these notices. A delivery stops when it has none left. */
  withdraw(keys: readonly string[]): void {
    for (const opened of this.#open) {
      opened.notices = opened.notices.filter((notice) => !keys.includes(noticeKey(notice)))
      if (opened.notices.length > 0) continue
      opened.delivery.stop()
      this.#open.delete(opened)
      this.#poll()
    }
  }

  /** Closes the deliveries on messages of the user that were never stored. Returns the notices of each. */
  withdrawUnstored(): (readonly Notice[])[] {
    const unstored = [...this.#open].filter(({ delivery }) => delivery.withdrawUnstored())
    for (const opened of unstored) this.#open.delete(opened)
    return unstored.map(({ notices }) => notices)
  }

  /**
   * Adds the missing parts of our messages to messages that a model is about to read: OpenCode stores a
   * message part by part, and a running session can read it in between (seen).
   */
  complete(messages: readonly MessageToRead[]): void {
    if (this.#open.size === 0) return
    const read = new Map(messages.map((message) => [message.info.id, message]))
    let stored: ReadonlySet<string> | undefined
    for (const { delivery } of this.#open) {
      const { parentID, messageID, parts } = delivery.message
      const message = read.get(messageID)
      if (!message) continue
      stored ??= new Set(messages.flatMap((each) => each.parts.map(({ id }) => id)))
      const missing = parts.filter(({ id }) => !stored?.has(id))
      message.parts.push(
        ...missing.map((part) => ({ ...part, type: 'text', sessionID: parentID, messageID })),
      )
    }
  }

  observeMessage(info: Message): void {
    for (const { delivery } of this.#open) delivery.observeMessage(info)
  }

  observeRemoval(messageID: string): void {
    for (const { delivery } of this.#open) delivery.observeRemoval(messageID)
  }

  dispose(): void {
    for (const { delivery } of this.#open) delivery.stop()
    this.#open.clear()
    this.#poll()
  }

  /** Polls statuses while a message is under way, in case its events are lost. */
  #poll(): void {
    if (![...this.#open].some(({ delivery }) => delivery.isUnderWay)) {
      this.#stopPolling?.()
      this.#stopPolling = undefined
      return
    }
    this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => {
      for (const { delivery } of this.#open) void delivery.observeStatuses(statuses)
      this.#poll()
    })
  }
}

function bytesOf({ parts }: NoticeMessage): number {
  return parts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
}
