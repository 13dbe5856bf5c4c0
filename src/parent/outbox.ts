/**
 * What the parents are still owed. A task that ends owes its parent one notice, unless the parent itself cancelled it
 * or has read its end first. Each parent has a mailbox; what leaves it is a delivery until the parent's model has
 * seen it.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import type { MessageToRead } from '../host/message.ts'
import type { Event, Opencode, TextPart } from '../host/opencode.ts'
import type { Reader } from '../host/reader.ts'
import type { StatusPoll } from '../host/status-poll.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { TaskStore } from '../task/store.ts'
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
import { Readings, type Reading } from './reading.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly statuses: StatusPoll
  readonly gate: Gate
  readonly timeline: TimelineWriter
  /** Called when nobody is owed the end of a run any more. */
  readonly onSettled: (task: EndedTask) => void
}

/** A delivery, and what is told by it that the parent has not read elsewhere. */
interface OpenDelivery {
  readonly delivery: Delivery
  notices: readonly Notice[]
}

/** The end of a run that tool calls of its parent wait for, or have read. */
interface Held {
  readonly parentID: string
  readonly taskID: string
  readonly readings: Set<Reading>
  /** Kept back meanwhile; `undefined` where the run has not ended, and where it is owed no notice. */
  notice: Notice | undefined
  /** What is to be sent when nobody reads any more. */
  readonly onFree: Set<() => void>
}

/** How a tool call keeps a notice back. */
export interface Hold {
  /** The call has read this end, and returns it: whether it is settled, OpenCode decides by storing the call. */
  readonly read: (task: EndedTask) => void
  /** The call gives up; without effect once it has read. */
  readonly release: () => void
}

const ENDS: Readonly<Record<DeliveryEnd, string>> = {
  told: "notice confirmed: the parent's model has read it",
  gone: 'no notice: its parent is gone',
  closed: "notice waits for the user's next message: the parent may not be woken",
  removed: 'notice undone by the user before it was read',
  unheard: 'nobody answers the message that the notice rides on',
}

const NONE: ReadonlySet<OpenDelivery> = new Set()

export class Outbox {
  readonly #ports: Ports
  readonly #options: NotifyOptions
  readonly #mailboxes = new Map<string, Mailbox>()
  /** What is under way or rests, by its parent: an event must find it without a look at all others. */
  readonly #sent = new Map<string, Set<OpenDelivery>>()
  readonly #readings: Readings
  /** By the keys of their notices. */
  readonly #held = new Map<string, Held>()
  readonly #unsubscribe: () => void
  readonly #listeners = new Set<() => void>()
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, options: NotifyOptions) {
    this.#ports = ports
    this.#options = options
    this.#readings = new Readings(ports)
    this.#unsubscribe = ports.store.subscribe((task, event) => {
      // Nobody needs to be told any more that it waits.
      if ((event.type === 'replied' && !isUnanswered(task)) || event.type === 'ended')
        this.#withdraw(task.parentID, [unansweredKey(task)])
      if (event.type === 'ended' && isEnded(task)) this.#ended(task, event.outcome.text)
      if (event.type === 'saw') this.#mailbox(task.parentID).put({ task, sighting: event.sighting })
      if (event.type === 'listens') this.#mailbox(task.parentID).put({ task, listening: event.listening })
      if (event.type === 'unanswered' && task.status === 'waiting')
        this.#mailbox(task.parentID).put({ task, unanswered: task.asks, at: event.at })
    })
    ports.gate.subscribe((parentID, change) => {
      // The way is often opened by a message of the user's, which is stored a moment later.
      if (change !== 'opened') return
      this.#mailboxes.get(parentID)?.sendSoon({ waits: true })
      for (const { delivery } of this.#sentTo(parentID)) delivery.resume()
      this.#poll()
    })
  }

  /**
   * Keeps the notice of a run back while a tool call of its parent waits for its end or reads it, and settles or
   * releases it when the call is over.
   */
  hold(task: Task, reader: Reader): Hold {
    const key = endKey(task)
    const held = this.#heldOf(key, task)
    let end: EndedTask | undefined
    const reading = this.#readings.begin(reader, (over) => {
      if (over === 'stored' && end) this.#settle(end)
      held.readings.delete(reading)
      if (held.readings.size === 0) this.#free(key, held)
      this.#notifyListeners()
    })
    held.readings.add(reading)
    return {
      read: (ended) => {
        end = ended
        reading.read()
        this.#notifyListeners()
      },
      release: () => reading.giveUp(),
    }
  }

  #heldOf(key: string, { id, parentID }: Task): Held {
    const known = this.#held.get(key)
    if (known) return known
    const notice = this.#mailboxes.get(parentID)?.remove(key)
    if (notice) this.#addSteps([notice], 'notice kept back: a tool call reads the end')
    const held: Held = { parentID, taskID: id, readings: new Set(), notice, onFree: new Set() }
    this.#held.set(key, held)
    return held
  }

  /** Nobody reads the end any more: its notice is sent, if it is still owed. */
  #free(key: string, { parentID, taskID, notice, onFree }: Held): void {
    this.#held.delete(key)
    if (notice) {
      this.#addSteps([notice], 'notice owed')
      this.#mailbox(parentID).put(notice)
    } else this.#sendOthersOf(taskID)
    for (const listener of onFree) listener()
  }

  /** The parent has read the end of the task: a notice of it that was not sent yet is not owed any more. */
  #settle(task: EndedTask): void {
    this.#ports.timeline.add(task.id, 'its end was read: no notice is owed')
    this.#ports.onSettled(task)
    // Reading the end also settles what was to be told of the task before it.
    const held = this.#held.get(endKey(task))
    if (held) held.notice = undefined
    this.#withdraw(task.parentID, [
      endKey(task),
      outputMatchKey(task),
      listeningKey(task),
      unansweredKey(task),
    ])
    this.#poll()
  }

  /**
   * Takes over a notice from before a restart. It wakes nobody: the parent may have been closed long ago.
   *
   * @param history of the parent: a message that holds the notice is read with the next turn, if it is not undone
   */
  inherit(notice: Notice, history: History): void {
    const { parentID } = notice.task
    const stored = history.notice(noticeKey(notice))
    this.#addSteps([notice], 'notice owed from before OpenCode started')
    if (!stored) {
      this.#mailbox(parentID).keep([notice])
      return
    }
    const delivery = this.#deliver({ ...stored, parentID, parts: [] }, [notice], 'resting')
    for (const { info } of history.messages) delivery.observeMessage(info)
  }

  /** Calls the listener when something was sent or is owed no more. Returns how to stop that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /**
   * Whether a parent has a notice before it that it has not read yet, or is still to be sent one. A tool call that returns
   * an end counts as a notice that was sent: the parent goes on with what the call returns.
   */
  owes(parentID: string): 'sent' | 'unsent' | 'nothing' {
    const held = [...this.#held.values()].filter((each) => each.parentID === parentID)
    if (held.some(({ readings }) => [...readings].some(({ isRead }) => isRead))) return 'sent'
    const places = new Set([...this.#sentTo(parentID)].map(({ delivery }) => delivery.place))
    if (places.has('queued')) return 'sent'
    const isHeld = held.some(({ notice }) => notice !== undefined)
    const isGathering = this.#mailboxes.get(parentID)?.isSending ?? false
    return isHeld || isGathering || places.has('sending') ? 'unsent' : 'nothing'
  }

  /** Whether a message to a parent is one that we send. */
  isOurs(parentID: string, messageID: string): boolean {
    return [...this.#sentTo(parentID)].some(({ delivery }) => delivery.sends(messageID))
  }

  /** What is to ride on a message that the user is just sending to a parent. */
  piggyback(parentID: string, messageID: string): readonly TextPart[] {
    const mailbox = this.#mailboxes.get(parentID)
    if (!mailbox) return []
    for (const sent of this.#sentTo(parentID)) {
      if (!sent.delivery.withdrawUnstored()) continue
      this.#forget(sent)
      mailbox.keep(sent.notices)
    }
    const { notices, parts } = mailbox.take()
    this.#addSteps(notices, "notice goes along with the user's message")
    if (parts.length > 0) this.#deliver({ parentID, messageID, parts }, notices, 'riding')
    return parts
  }

  /**
   * Puts into messages that a model is about to read what is still missing of ours: the host stores a message part by
   * part, and a session at work can read it in between (seen).
   */
  complete(messages: readonly MessageToRead[]): void {
    if (this.#sent.size === 0) return
    const read = new Map(messages.map((message) => [message.info.id, message]))
    let stored: ReadonlySet<string> | undefined
    for (const { delivery } of this.#all()) {
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

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'message.updated': {
        const { info } = event.properties
        const sent = this.#sent.get(info.sessionID)
        if (!sent) return
        for (const { delivery } of sent) {
          delivery.observeMessage(info)
          this.#notifyListeners()
        }
        return
      }
      case 'message.part.updated':
        this.#readings.observePart(event.properties.part)
        return
      case 'message.removed': {
        const { sessionID, messageID } = event.properties
        for (const { delivery } of this.#sentTo(sessionID)) delivery.observeRemoval(messageID)
        return
      }
      default:
        return
    }
  }

  /** Sends nothing any more: what is owed then is the record's to keep. */
  dispose(): void {
    this.#unsubscribe()
    this.#readings.dispose()
    this.#held.clear()
    for (const mailbox of this.#mailboxes.values()) mailbox.stop()
    this.#mailboxes.clear()
    for (const { delivery } of this.#all()) delivery.stop()
    this.#sent.clear()
    this.#poll()
    this.#notifyListeners()
  }

  /** What was not sent yet of these notices is not owed any more. */
  #withdraw(parentID: string, keys: readonly string[]): void {
    for (const key of keys) this.#mailboxes.get(parentID)?.remove(key)
    for (const sent of this.#sentTo(parentID)) {
      sent.notices = sent.notices.filter((notice) => !keys.includes(noticeKey(notice)))
      if (sent.notices.length > 0) continue
      sent.delivery.stop()
      this.#forget(sent)
    }
  }

  #ended(task: EndedTask, text: string): void {
    if (task.status === 'cancelled' && task.by === 'parent') {
      this.#ports.timeline.add(task.id, 'no notice: its parent has cancelled it')
      this.#ports.onSettled(task)
      this.#sendOthersOf(task.id)
      return
    }
    const notice = { task, text }
    const held = this.#held.get(endKey(task))
    this.#addSteps([notice], held ? 'notice kept back: a tool call waits for the end' : 'notice owed')
    if (held) held.notice = notice
    else this.#mailbox(task.parentID).put(notice)
  }

  /** There is nothing to tell of a task, but notices of its siblings may have waited for the last of them. */
  #sendOthersOf(taskID: string): void {
    const task = this.#ports.store.get(taskID)
    if (task && isEnded(task)) this.#mailboxes.get(task.parentID)?.sendSoon()
  }

  #mailbox(parentID: string): Mailbox {
    const known = this.#mailboxes.get(parentID)
    if (known) return known
    const ports = { ...this.#ports, unreadBytes: () => this.#unreadBytes(parentID) }
    const mailbox = new Mailbox(ports, parentID, this.#options, (message, notices) => {
      void this.#deliver(message, notices, 'sending').send()
      this.#notifyListeners()
    })
    this.#mailboxes.set(parentID, mailbox)
    return mailbox
  }

  #unreadBytes(parentID: string): number {
    return [...this.#sentTo(parentID)].reduce(
      (sum, { delivery }) => sum + (delivery.place === 'past' ? 0 : bytesOf(delivery.message)),
      0,
    )
  }

  #deliver(
    message: NoticeMessage,
    notices: readonly Notice[],
    step: 'sending' | 'riding' | 'resting',
  ): Delivery {
    const onEnd = (end: DeliveryEnd): void => {
      this.#addSteps(sent.notices, ENDS[end])
      this.#forget(sent)
      this.#poll()
      this.#notifyListeners()
      if (end === 'told' || end === 'gone')
        for (const { task } of sent.notices.filter(isEndNotice)) this.#ports.onSettled(task)
      if (end === 'closed') this.#mailbox(message.parentID).keep(sent.notices)
      else if (end === 'removed') this.#putBack(message.parentID, sent.notices)
      else if (end === 'unheard' && !this.#mailbox(message.parentID).remind(sent.notices))
        this.#deliver(message, sent.notices, 'resting')
    }
    const onSent = (): void => {
      this.#addSteps(sent.notices, 'notice sent')
      this.#notifyListeners()
    }
    const gate = { admission: () => this.#admission(sent) }
    const ports = { ...this.#ports, gate }
    const sent: OpenDelivery = { notices, delivery: new Delivery(ports, message, step, { onSent, onEnd }) }
    const others = this.#sent.get(message.parentID)
    if (others) others.add(sent)
    else this.#sent.set(message.parentID, new Set([sent]))
    this.#poll()
    return sent.delivery
  }

  /** Waits while tool calls read all that the message tells. */
  async #admission(sent: OpenDelivery): Promise<Admission> {
    const held = this.#heldFor(sent)
    if (held) await new Promise<void>((resolve) => held.onFree.add(resolve))
    const admission = await this.#ports.gate.admission(sent.delivery.message.parentID)
    return this.#heldFor(sent) ? this.#admission(sent) : admission
  }

  #heldFor({ notices }: OpenDelivery): Held | undefined {
    const held = notices.map((notice) => this.#held.get(noticeKey(notice)))
    return held.includes(undefined) ? undefined : held[0]
  }

  #addSteps(notices: readonly Notice[], what: string): void {
    for (const { task } of notices) this.#ports.timeline.add(task.id, what)
  }

  #sentTo(parentID: string): ReadonlySet<OpenDelivery> {
    return this.#sent.get(parentID) ?? NONE
  }

  *#all(): Generator<OpenDelivery> {
    for (const sent of this.#sent.values()) yield* sent
  }

  #forget(sent: OpenDelivery): void {
    const { parentID } = sent.delivery.message
    const left = this.#sent.get(parentID)
    left?.delete(sent)
    if (left?.size === 0) this.#sent.delete(parentID)
  }

  #isUnderWay(): boolean {
    for (const { delivery } of this.#all()) if (delivery.isUnderWay) return true
    return false
  }

  #notifyListeners(): void {
    for (const listener of this.#listeners) listener()
  }

  /** The user has undone the message before it was read, and goes on from there with another just now. */
  #putBack(parentID: string, notices: readonly Notice[]): void {
    const mailbox = this.#mailbox(parentID)
    mailbox.keep(notices)
    mailbox.sendSoon({ waits: true })
  }

  /** The poll of statuses is the net for messages that are under way, and runs while there are any. */
  #poll(): void {
    if (!this.#isUnderWay()) {
      this.#stopPolling?.()
      this.#stopPolling = undefined
    } else {
      this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => {
        for (const { delivery } of this.#all()) void delivery.observeStatuses(statuses)
        this.#poll()
      })
    }
  }
}

function isUnanswered(task: Task): boolean {
  return task.status === 'waiting' && task.asks.some(({ unansweredAt }) => unansweredAt !== undefined)
}

function bytesOf({ parts }: NoticeMessage): number {
  return parts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
}
