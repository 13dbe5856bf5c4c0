/**
 * What the parents are still owed. A task that ends owes its parent one notice, unless the parent itself cancelled it
 * or has read its end first. Each parent has a mailbox; what leaves it is a delivery until the parent's model has
 * seen it.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Event, MessageToRead, Opencode, TextPart } from '../opencode.ts'
import type { StatusPoll } from '../status.ts'
import type { Teller } from '../story.ts'
import type { TaskStore } from '../task/store.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'
import { Delivery, type DeliveryEnd, type Letter } from './delivery.ts'
import type { Gate } from './gate.ts'
import type { ToolNames } from '../tool-names.ts'
import { Mailbox, type NotifyOptions } from './mailbox.ts'
import { endKey, noticeKey, sightingKey, unansweredKey, type Notice } from './notice.ts'
import type { History } from './history.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly statuses: StatusPoll
  readonly gate: Gate
  readonly stories: Teller
  readonly names: ToolNames
}

/** A delivery, and what is told by it that the parent has not read elsewhere. */
interface Sent {
  readonly delivery: Delivery
  notices: readonly Notice[]
}

const ENDS: Readonly<Record<DeliveryEnd, string>> = {
  told: "notice confirmed: the parent's model has read it",
  gone: 'no notice: its parent is gone',
  closed: "notice waits for the user's next message: the parent may not be woken",
  removed: 'notice undone by the user before it was read',
}

const NONE: ReadonlySet<Sent> = new Set()

export class Outbox {
  readonly #ports: Ports
  readonly #options: NotifyOptions
  readonly #mailboxes = new Map<string, Mailbox>()
  /** What is under way or rests, by its parent: an event must find it without a look at all others. */
  readonly #sent = new Map<string, Set<Sent>>()
  /** Tasks that somebody waits for, who will read their end: how many wait, and the notices of its runs that came meanwhile. */
  readonly #held = new Map<string, { holders: number; notices: Notice[] }>()
  readonly #unsubscribe: () => void
  readonly #listeners = new Set<() => void>()
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, options: NotifyOptions) {
    this.#ports = ports
    this.#options = options
    this.#unsubscribe = ports.store.subscribe((task, event) => {
      // Nobody needs to be told any more that it waits.
      if ((event.type === 'replied' && !isUnanswered(task)) || event.type === 'ended')
        this.#withdraw(task.parentID, [unansweredKey(task)])
      if (event.type === 'ended' && isEnded(task)) this.#ended(task, event.outcome.text)
      if (event.type === 'saw') this.#mailbox(task.parentID).put({ task, sighting: event.sighting })
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

  /** Keeps the notice of a task back until the function returned is called. */
  hold(taskID: string): () => void {
    const hold = this.#held.get(taskID) ?? { holders: 0, notices: [] }
    hold.holders += 1
    this.#held.set(taskID, hold)
    return () => {
      hold.holders -= 1
      if (hold.holders > 0) return
      this.#held.delete(taskID)
      this.#tellStories(hold.notices, 'notice owed')
      for (const notice of hold.notices) this.#mailbox(notice.task.parentID).put(notice)
      if (hold.notices.length === 0) this.#sendOthersOf(taskID)
    }
  }

  /** The parent has read the end of the task: what was not sent yet is not owed any more. */
  settle(task: EndedTask): void {
    this.#ports.stories.tell(task.id, 'its end was read: no notice is owed')
    // Whoever knows its end needs not be told of what came before.
    const keys = [endKey(task), sightingKey(task), unansweredKey(task)]
    const hold = this.#held.get(task.id)
    if (hold) hold.notices = hold.notices.filter((notice) => !keys.includes(noticeKey(notice)))
    this.#withdraw(task.parentID, keys)
    this.#poll()
    this.#tell()
  }

  /**
   * Takes over a notice from before a restart. It wakes nobody: the parent may have been closed long ago.
   *
   * @param history of the parent: a message that holds the notice is read with the next turn, if it is not undone
   */
  inherit(notice: Notice, history: History): void {
    const { parentID } = notice.task
    const stored = history.notice(noticeKey(notice))
    this.#tellStories([notice], 'notice owed from before OpenCode started')
    if (!stored) {
      this.#mailbox(parentID).keep([notice])
      return
    }
    const delivery = this.#deliver({ ...stored, parentID, parts: [] }, [notice], 'resting')
    for (const { info } of history.messages) delivery.sawMessage(info)
  }

  /** Calls the listener when something was sent or is owed no more. Returns how to stop that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Whether a parent has a notice before it that it has not read yet, or is still to be sent one. */
  owes(parentID: string): 'sent' | 'unsent' | 'nothing' {
    const places = new Set([...this.#sentTo(parentID)].map(({ delivery }) => delivery.place))
    if (places.has('queued')) return 'sent'
    const isHeld = [...this.#held.values()].some(({ notices }) => notices[0]?.task.parentID === parentID)
    const isGathering = this.#mailboxes.get(parentID)?.isSending ?? false
    return isHeld || isGathering || places.has('sending') ? 'unsent' : 'nothing'
  }

  /** Whether a message to a parent is one that we send. */
  isOurs(parentID: string, messageID: string): boolean {
    return [...this.#sentTo(parentID)].some(({ delivery }) => delivery.sends(messageID))
  }

  /** What is to ride on a message that the user is just sending to a parent. */
  takeAlong(parentID: string, messageID: string): readonly TextPart[] {
    const mailbox = this.#mailboxes.get(parentID)
    if (!mailbox) return []
    for (const sent of this.#sentTo(parentID)) {
      if (!sent.delivery.reclaim()) continue
      this.#forget(sent)
      mailbox.keep(sent.notices)
    }
    const { notices, parts } = mailbox.take()
    this.#tellStories(notices, "notice goes along with the user's message")
    if (parts.length > 0) this.#deliver({ parentID, messageID, parts }, notices, 'resting')
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
      const { parentID, messageID, parts } = delivery.letter
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
          delivery.sawMessage(info)
          this.#tell()
        }
        return
      }
      case 'message.removed': {
        const { sessionID, messageID } = event.properties
        for (const { delivery } of this.#sentTo(sessionID)) delivery.sawRemoved(messageID)
        return
      }
      default:
        return
    }
  }

  /** Sends nothing any more: what is owed then is the record's to keep. */
  dispose(): void {
    this.#unsubscribe()
    for (const mailbox of this.#mailboxes.values()) mailbox.stop()
    this.#mailboxes.clear()
    for (const { delivery } of this.#all()) delivery.stop()
    this.#sent.clear()
    this.#poll()
    this.#tell()
  }

  /** What was not sent yet of these notices is not owed any more. */
  #withdraw(parentID: string, keys: readonly string[]): void {
    this.#mailboxes.get(parentID)?.remove(keys)
    for (const sent of this.#sentTo(parentID)) {
      sent.notices = sent.notices.filter((notice) => !keys.includes(noticeKey(notice)))
      if (sent.notices.length > 0) continue
      sent.delivery.stop()
      this.#forget(sent)
    }
  }

  #ended(task: EndedTask, text: string): void {
    if (task.status === 'cancelled' && task.by === 'parent') {
      this.#ports.stories.tell(task.id, 'no notice: its parent has cancelled it')
      this.#sendOthersOf(task.id)
      return
    }
    const notice = { task, text }
    const hold = this.#held.get(task.id)
    this.#tellStories([notice], hold ? 'notice kept back: somebody waits for the end' : 'notice owed')
    if (hold) hold.notices.push(notice)
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
    const mailbox = new Mailbox(ports, parentID, this.#options, (letter, notices) => {
      void this.#deliver(letter, notices, 'sending').send()
      this.#tell()
    })
    this.#mailboxes.set(parentID, mailbox)
    return mailbox
  }

  #unreadBytes(parentID: string): number {
    return [...this.#sentTo(parentID)].reduce(
      (sum, { delivery }) => sum + (delivery.place === 'past' ? 0 : bytesOf(delivery.letter)),
      0,
    )
  }

  #deliver(letter: Letter, notices: readonly Notice[], step: 'sending' | 'resting'): Delivery {
    const onEnd = (end: DeliveryEnd): void => {
      this.#tellStories(sent.notices, ENDS[end])
      this.#forget(sent)
      this.#poll()
      this.#tell()
      if (end === 'closed') this.#mailbox(letter.parentID).keep(sent.notices)
      else if (end === 'removed') this.#putBack(letter.parentID, sent.notices)
    }
    const onSent = (): void => {
      this.#tellStories(sent.notices, 'notice sent')
      this.#tell()
    }
    const sent: Sent = { notices, delivery: new Delivery(this.#ports, letter, step, { onSent, onEnd }) }
    const others = this.#sent.get(letter.parentID)
    if (others) others.add(sent)
    else this.#sent.set(letter.parentID, new Set([sent]))
    this.#poll()
    return sent.delivery
  }

  #tellStories(notices: readonly Notice[], what: string): void {
    for (const { task } of notices) this.#ports.stories.tell(task.id, what)
  }

  #sentTo(parentID: string): ReadonlySet<Sent> {
    return this.#sent.get(parentID) ?? NONE
  }

  *#all(): Generator<Sent> {
    for (const sent of this.#sent.values()) yield* sent
  }

  #forget(sent: Sent): void {
    const { parentID } = sent.delivery.letter
    const left = this.#sent.get(parentID)
    left?.delete(sent)
    if (left?.size === 0) this.#sent.delete(parentID)
  }

  #isUnderWay(): boolean {
    for (const { delivery } of this.#all()) if (delivery.isUnderWay) return true
    return false
  }

  #tell(): void {
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
        for (const { delivery } of this.#all()) void delivery.sawStatuses(statuses)
        this.#poll()
      })
    }
  }
}

function isUnanswered(task: Task): boolean {
  return task.status === 'waiting' && task.asks.some(({ unansweredAt }) => unansweredAt !== undefined)
}

function bytesOf({ parts }: Letter): number {
  return parts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
}
