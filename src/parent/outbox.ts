/**
 * Delivers the notices of one parent. A task that ends owes its parent one notice, unless the parent itself
 * cancelled the task or has read its end first. A notice waits in the mailbox, then in a delivery until the
 * parent's model has seen it. While a tool call reads an end, the outbox holds the notice of that end.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import type { MessageToRead } from '../host/message.ts'
import type { Message, Opencode, Part, StoredMessage, TextPart } from '../host/opencode.ts'
import type { Reader } from '../host/reader.ts'
import type { StatusPoll } from '../host/status-poll.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { NoticeStep } from '../task/step.ts'
import type { StoreEvent } from '../task/store.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'
import { Delivery, type DeliveryEnd, type NoticeMessage } from './delivery.ts'
import type { Admission, Gate } from './gate.ts'
import { Mailbox, type NotifyOptions } from './mailbox.ts'
import {
  endKey,
  isEndNotice,
  listeningKey,
  noticeKey,
  outputMatchKey,
  unansweredKey,
  type Notice,
} from './notice.ts'
import type { History } from './history.ts'
import type { ParentTasks } from './parent-tasks.ts'
import { Readings, type Reading } from './reading.ts'

export interface OutboxPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly statuses: StatusPoll
  readonly gate: Gate
  readonly tasks: ParentTasks
  readonly timeline: TimelineWriter
  /** Whether a task has given its last answer, so that its end follows. */
  readonly isFinishing: (task: Task) => boolean
  /** Called when the end of a run is settled. */
  readonly onSettled: (task: EndedTask) => void
  /** Resolves when what happened in the parent while events were missed is known. Rejects with a `HostError`. */
  readonly caughtUp: () => Promise<void>
  /** Called when a notice may have been sent, held, or settled. */
  readonly onChange: () => void
}

/** A delivery, and its notices that are still owed. */
interface OpenDelivery {
  readonly delivery: Delivery
  notices: readonly Notice[]
}

/** The end of a run for which tool calls of the parent wait, or which they have read. */
interface HeldEnd {
  readonly taskID: string
  readonly readings: Set<Reading>
  /** The held notice; `undefined` before the end of the run, and if none is owed. */
  notice: Notice | undefined
  /** Resolves when no call reads the end any more. */
  readonly freed: Promise<void>
  readonly free: () => void
}

/** The hold of a tool call on a notice. */
export interface Hold {
  /** Reports that the call returns this end. OpenCode settles the end by storing the call as completed. */
  readonly read: (task: EndedTask) => void
  /** Abandons the read; without effect after `read`. */
  readonly release: () => void
}

/** The records of ends wait for their notices, but not for a host that fails. */
const LONGEST_SEND_MS = 2500

export class Outbox {
  readonly #ports: OutboxPorts
  readonly #parentID: string
  readonly #mailbox: Mailbox
  readonly #deliveries = new Set<OpenDelivery>()
  readonly #readings: Readings
  /** By the keys of their notices. */
  readonly #held = new Map<string, HeldEnd>()
  /** Those who wait until what is owed was sent. */
  readonly #unsent = new Set<() => void>()
  #stopPolling: (() => void) | undefined

  constructor(ports: OutboxPorts, parentID: string, options: NotifyOptions) {
    this.#ports = ports
    this.#parentID = parentID
    this.#readings = new Readings(ports, parentID)
    this.#mailbox = new Mailbox(
      { ...ports, unreadBytes: () => this.#unreadBytes() },
      parentID,
      options,
      (message, notices) => {
        void this.#deliver(message, notices, 'sending').send()
        this.#changed()
      },
    )
  }

  observeTask(task: Task, event: StoreEvent): void {
    switch (event.type) {
      case 'outputMatched':
        return this.#mailbox.put({ task, match: event.match })
      case 'listening':
        return this.#mailbox.put({ task, listening: event.listening })
      case 'permissionUnanswered':
        if (task.status === 'waiting')
          this.#mailbox.put({ task, unanswered: task.permissionRequests, at: event.at })
        return
      case 'permissionReplied':
        if (!isUnanswered(task)) this.#withdraw([unansweredKey(task)])
        return
      case 'ended':
        this.#withdraw([unansweredKey(task)])
        if (isEnded(task)) this.#end(task, event.outcome.text)
        return
      default:
        return
    }
  }

  /** Sends after a debounce, because the user's message that opens the gate is often not stored yet. */
  gateOpened(): void {
    this.#mailbox.sendSoon({ waits: true })
    for (const { delivery } of this.#deliveries) delivery.resume()
    this.#poll()
  }

  /** Sends what the parent is owed from before: its user, who may have closed the gate, writes. */
  personWrote(): void {
    this.#mailbox.sendSoon({ waits: true })
  }

  /** Observes that OpenCode can be reached again. */
  observeGap(): void {
    for (const { delivery } of this.#deliveries) delivery.retryNow()
  }

  /** The ids of its messages that the parent has stored. */
  get storedIDs(): readonly string[] {
    return [...this.#deliveries].flatMap(({ delivery }) =>
      delivery.isStored ? delivery.message.messageID : [],
    )
  }

  /** Observes messages of the parent, back to the oldest of `storedIDs`, after events were missed. */
  observeHistory(messages: readonly StoredMessage[]): void {
    for (const { delivery } of this.#deliveries) delivery.observeHistory(messages)
    this.#changed()
  }

  /**
   * Holds the notice of a run while a tool call of the parent waits for the end or reads it, and settles or
   * releases the notice when the call is over.
   */
  hold(task: Task, reader: Reader): Hold {
    const key = endKey(task)
    const held = this.#held.get(key) ?? this.#holdEnd(key, task.id)
    let end: EndedTask | undefined
    const reading = this.#readings.begin(reader, (over) => {
      if (over === 'stored' && end) this.settle(end)
      held.readings.delete(reading)
      if (held.readings.size === 0) this.#freeEnd(key, held)
      this.#changed()
    })
    held.readings.add(reading)
    return {
      read: (ended) => {
        end = ended
        reading.read()
        this.#changed()
      },
      release: () => reading.giveUp(),
    }
  }

  /**
   * Adopts a notice from before a restart. It wakes nobody, because the gate may have been closed then.
   *
   * @param history of the parent: the next turn reads a stored message with the notice, unless it is undone
   */
  inherit(notice: Notice, history: History): void {
    const stored = history.notice(noticeKey(notice))
    this.#addSteps([notice], 'inherited')
    if (!stored) {
      this.#mailbox.keep([notice])
      return
    }
    const message = { ...stored, parentID: this.#parentID, parts: [] }
    const delivery = this.#deliver(message, [notice], 'stored')
    for (const { info } of history.messages) delivery.observeMessage(info)
  }

  /**
   * Returns `sent` if the parent has stored a notice that it has not read, `unsent` if a notice is still to
   * be sent. A tool call that returns an end counts as `sent`, because the parent continues with its result.
   */
  owes(): 'sent' | 'unsent' | 'nothing' {
    const held = [...this.#held.values()]
    if (held.some(({ readings }) => [...readings].some(({ isRead }) => isRead))) return 'sent'
    const places = new Set([...this.#deliveries].map(({ delivery }) => delivery.place))
    if (places.has('queued')) return 'sent'
    const isHeld = held.some(({ notice }) => notice !== undefined)
    return isHeld || this.#mailbox.isSending || places.has('sending') ? 'unsent' : 'nothing'
  }

  /** Resolves once nothing owed is still to be sent, or after `LONGEST_SEND_MS`; `undefined` if nothing is. */
  sent(): Promise<void> | undefined {
    if (this.owes() !== 'unsent') return undefined
    return new Promise((resolve) => {
      const finish = (): void => {
        cancelLimit()
        this.#unsent.delete(finish)
        resolve()
      }
      const cancelLimit = this.#ports.clock.after(LONGEST_SEND_MS, finish)
      this.#unsent.add(finish)
    })
  }

  /** Whether the outbox sends the message with this id. */
  isOurs(messageID: string): boolean {
    return [...this.#deliveries].some(({ delivery }) => delivery.sends(messageID))
  }

  /** Returns the parts to piggyback on a message that the user is sending to the parent. */
  piggyback(messageID: string): readonly TextPart[] {
    for (const sent of this.#deliveries) {
      if (!sent.delivery.withdrawUnstored()) continue
      this.#deliveries.delete(sent)
      this.#mailbox.keep(sent.notices)
    }
    const { notices, parts } = this.#mailbox.take()
    this.#addSteps(notices, 'piggybacked')
    if (parts.length > 0)
      this.#deliver({ parentID: this.#parentID, messageID, parts }, notices, 'piggybacked')
    return parts
  }

  /**
   * Adds the missing parts of our messages to messages that a model is about to read: OpenCode stores a
   * message part by part, and a running session can read it in between (seen).
   */
  complete(messages: readonly MessageToRead[]): void {
    if (this.#deliveries.size === 0) return
    const read = new Map(messages.map((message) => [message.info.id, message]))
    let stored: ReadonlySet<string> | undefined
    for (const { delivery } of this.#deliveries) {
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
    for (const { delivery } of this.#deliveries) {
      delivery.observeMessage(info)
      this.#changed()
    }
  }

  observePart(part: Part): void {
    this.#readings.observePart(part)
  }

  observeRemoval(messageID: string): void {
    for (const { delivery } of this.#deliveries) delivery.observeRemoval(messageID)
  }

  /** Settles all notices, because the parent was deleted. */
  settleAll(): void {
    const held = [...this.#held.values()].flatMap(({ notice }) => notice ?? [])
    const sent = [...this.#deliveries].flatMap(({ notices }) => notices)
    this.#settleEnds([...this.#mailbox.empty(), ...held, ...sent], 'gone')
    this.dispose()
  }

  /** Stops sending. The records retain the ends that are owed. */
  dispose(): void {
    this.#readings.dispose()
    this.#held.clear()
    this.#mailbox.empty()
    for (const { delivery } of this.#deliveries) delivery.stop()
    this.#deliveries.clear()
    this.#poll()
    this.#changed()
  }

  #changed(): void {
    this.#ports.onChange()
    if (this.#unsent.size === 0 || this.owes() === 'unsent') return
    for (const finish of this.#unsent) finish()
  }

  #holdEnd(key: string, taskID: string): HeldEnd {
    const notice = this.#mailbox.remove(key)
    if (notice) this.#addSteps([notice], 'held')
    let free = (): void => {}
    const freed = new Promise<void>((resolve) => {
      free = resolve
    })
    const held = { taskID, readings: new Set<Reading>(), notice, freed, free }
    this.#held.set(key, held)
    return held
  }

  /** Sends the notice of an end that no call reads any more, if the notice is still owed. */
  #freeEnd(key: string, { taskID, notice, free }: HeldEnd): void {
    this.#held.delete(key)
    if (notice) {
      this.#addSteps([notice], 'owed')
      this.#mailbox.put(notice)
    } else if (!this.#ports.tasks.unfinishedIDs.has(taskID)) this.#mailbox.sendSoon()
    free()
  }

  /** Settles an end that the parent has read: the parent is owed no notice of it any more. */
  settle(task: EndedTask): void {
    this.#ports.timeline.addNotice(task.id, 'settled')
    this.#ports.onSettled(task)
    const held = this.#held.get(endKey(task))
    if (held) held.notice = undefined
    // Reading the end also settles the earlier notices of the task.
    this.#withdraw([endKey(task), outputMatchKey(task), listeningKey(task), unansweredKey(task)])
    this.#poll()
  }

  /** Drops these notices. A delivery stops when it has none left. */
  #withdraw(keys: readonly string[]): void {
    for (const key of keys) this.#mailbox.remove(key)
    for (const sent of this.#deliveries) {
      sent.notices = sent.notices.filter((notice) => !keys.includes(noticeKey(notice)))
      if (sent.notices.length > 0) continue
      sent.delivery.stop()
      this.#deliveries.delete(sent)
    }
  }

  #end(task: EndedTask, text: string): void {
    if (task.status === 'cancelled' && task.by === 'parent') {
      this.#ports.timeline.addNotice(task.id, 'cancelled')
      this.#ports.onSettled(task)
      // Other notices may have waited for this task, the last to end.
      this.#mailbox.sendSoon()
      return
    }
    const notice = { task, text }
    const held = this.#held.get(endKey(task))
    this.#addSteps([notice], held ? 'held' : 'owed')
    if (held) held.notice = notice
    else this.#mailbox.put(notice)
  }

  #unreadBytes(): number {
    return [...this.#deliveries].reduce(
      (sum, { delivery }) => sum + (delivery.place === 'past' ? 0 : bytesOf(delivery.message)),
      0,
    )
  }

  #deliver(
    message: NoticeMessage,
    notices: readonly Notice[],
    step: 'sending' | 'piggybacked' | 'stored',
  ): Delivery {
    const onEnd = (end: DeliveryEnd): void => this.#delivered(sent, end)
    const onSent = (): void => {
      this.#addSteps(sent.notices, 'sent')
      this.#changed()
    }
    const ports = { ...this.#ports, gate: { admission: () => this.#admission(sent) } }
    const sent: OpenDelivery = { notices, delivery: new Delivery(ports, message, step, { onSent, onEnd }) }
    this.#deliveries.add(sent)
    this.#poll()
    return sent.delivery
  }

  #delivered(sent: OpenDelivery, end: DeliveryEnd): void {
    const { notices, delivery } = sent
    this.#deliveries.delete(sent)
    this.#poll()
    if (end === 'confirmed' || end === 'gone') this.#settleEnds(notices, end)
    else this.#addSteps(notices, end)
    this.#changed()
    if (end === 'closed' || end === 'undone') this.#mailbox.keep(notices)
    // The user has undone the unread message, and is just sending another.
    if (end === 'undone') this.#mailbox.sendSoon({ waits: true })
    if (end === 'unanswered' && !this.#mailbox.remind(notices))
      this.#deliver(delivery.message, notices, 'stored')
  }

  #settleEnds(notices: readonly Notice[], end: 'confirmed' | 'gone'): void {
    this.#addSteps(notices, end)
    for (const { task } of notices.filter(isEndNotice)) this.#ports.onSettled(task)
  }

  /** Waits while tool calls read every end that the message reports. */
  async #admission(sent: OpenDelivery): Promise<Admission> {
    const held = this.#heldFor(sent)
    if (held) await held.freed
    await this.#ports.caughtUp()
    const admission = await this.#ports.gate.admission()
    return this.#heldFor(sent) ? this.#admission(sent) : admission
  }

  #heldFor({ notices }: OpenDelivery): HeldEnd | undefined {
    const held = notices.map((notice) => this.#held.get(noticeKey(notice)))
    return held.includes(undefined) ? undefined : held[0]
  }

  #addSteps(notices: readonly Notice[], step: NoticeStep): void {
    for (const { task } of notices) this.#ports.timeline.addNotice(task.id, step)
  }

  /** Polls statuses while a message is under way, in case its events are lost. */
  #poll(): void {
    if (![...this.#deliveries].some(({ delivery }) => delivery.isUnderWay)) {
      this.#stopPolling?.()
      this.#stopPolling = undefined
      return
    }
    this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => {
      for (const { delivery } of this.#deliveries) void delivery.observeStatuses(statuses)
      this.#poll()
    })
  }
}

function isUnanswered(task: Task): boolean {
  return (
    task.status === 'waiting' &&
    task.permissionRequests.some(({ unansweredAt }) => unansweredAt !== undefined)
  )
}

function bytesOf({ parts }: NoticeMessage): number {
  return parts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
}
