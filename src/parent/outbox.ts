/**
 * Delivers the notices of one parent. A task that ends owes its parent one notice, unless the parent itself
 * cancelled the task or has read its end first.
 *
 *   owed → batch   → delivery → confirmed, when the parent's model has seen it
 *             ⇅ ←──────┘ closed, undone
 *         held end → settled, when a tool call of the parent has returned the end
 *
 * A notice lies in one of the three at a time, and only this class moves it.
 */
import type { Log } from '../host/log.ts'
import type { MessageToRead } from '../host/message.ts'
import type { Message, Part, StoredMessage, TextPart } from '../host/opencode.ts'
import type { Reader } from '../host/reader.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { NoticeStep } from '../task/step.ts'
import type { StoreEvent } from '../task/store.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'
import { Deliveries } from './deliveries.ts'
import type { DeliveryEnd, NoticeMessage } from './delivery.ts'
import type { Admission, QuietGate } from './quiet-gate.ts'
import { HeldEnds, type Hold } from './held-ends.ts'
import type { History } from './history.ts'
import { NoticeBatch, type NotifyOptions } from './notice-batch.ts'
import {
  isEndNotice,
  keyOf,
  noticeKey,
  NOTICE_TYPES,
  sentKey,
  type MatchesNotice,
  type Notice,
} from './notice.ts'
import type { ParentTasks } from './parent-tasks.ts'
import type { ReadingPorts } from './reading.ts'

export interface OutboxPorts extends ReadingPorts {
  readonly log: Log
  readonly gate: QuietGate
  readonly tasks: ParentTasks
  readonly timeline: TimelineWriter
  /** Whether a task has given its last answer, so that its end follows. */
  readonly isFinishing: (task: Task) => boolean
  /** Returns the text of the notice of matching lines that is due now; `undefined` if none is. */
  readonly takeMatches: (task: Task) => Pick<MatchesNotice, 'monitored' | 'lines'> | undefined
  /** Called when the parent's model has read the notice of matching lines of this number. */
  readonly onMatchesTold: (task: Task, notices: number) => void
  /** Called when the end of a run is settled. */
  readonly onSettled: (task: EndedTask) => void
  /** Resolves when the parent was read after missed events. Rejects with a `HostError`. */
  readonly caughtUp: () => Promise<void>
  /** Called when a notice may have been sent, held, or settled. */
  readonly onChange: () => void
}

/** The longest time that the record of an end waits for its notice, because a failing host may never accept that. */
const LONGEST_SEND_MS = 2500

export class Outbox {
  readonly #ports: OutboxPorts
  readonly #parentID: string
  readonly #batch: NoticeBatch
  readonly #deliveries: Deliveries
  readonly #held: HeldEnds
  /** The callbacks that resolve the promises of `sent`. */
  readonly #sendWaiters = new Set<() => void>()

  constructor(ports: OutboxPorts, parentID: string, options: NotifyOptions) {
    this.#ports = ports
    this.#parentID = parentID
    this.#deliveries = new Deliveries(
      { ...ports, admission: (owed) => this.#admission(owed) },
      {
        onSent: (notices) => {
          this.#addSteps(notices, 'sent')
          this.#changed()
        },
        onEnd: (end, notices, message) => this.#delivered(end, notices, message),
      },
    )
    this.#held = new HeldEnds(ports, parentID, {
      onHeld: (key) => {
        const notice = this.#batch.remove(key)
        if (notice) this.#addSteps([notice], 'held')
        return notice
      },
      onRead: (task) => this.settle(task),
      onFreed: (taskID, notice) => {
        if (notice) this.#put(notice)
        else if (!ports.tasks.unfinishedIDs.has(taskID)) this.#batch.sendSoon()
      },
      onChange: () => this.#changed(),
    })
    const send = (message: NoticeMessage, notices: readonly Notice[]): void => {
      void this.#deliveries.open(message, notices, 'sending').send()
      this.#changed()
    }
    const unreadBytes = (): number => this.#deliveries.unreadBytes
    const taken = (notice: Notice): Notice | undefined => {
      if (!('monitored' in notice)) return notice
      const newest = { ...notice, ...ports.takeMatches(notice.task) }
      return newest.lines === undefined ? undefined : newest
    }
    this.#batch = new NoticeBatch({ ...ports, send, unreadBytes, taken }, parentID, options)
  }

  observeTask(task: Task, event: StoreEvent): void {
    switch (event.type) {
      case 'outputMatched':
        return this.#batch.put({ task, match: event.match })
      case 'monitored':
        return this.#batch.put({ task, monitored: event.monitored })
      case 'listening':
        return this.#batch.put({ task, listening: event.listening })
      case 'permissionUnanswered':
        if (task.status === 'waiting')
          this.#batch.put({ task, unanswered: task.permissionRequests, at: event.at })
        return
      case 'permissionReplied':
        if (!isUnanswered(task)) this.#withdraw([keyOf(task, 'unanswered')])
        return
      case 'ended':
        this.#withdraw([keyOf(task, 'unanswered')])
        if (isEnded(task)) this.#end(task, event.outcome.text)
        return
      default:
        return
    }
  }

  /** Sends after a debounce, because the user's message that opens the gate is often not stored yet. */
  gateOpened(): void {
    this.#batch.sendSoon({ waits: true })
    this.#deliveries.resume()
  }

  /** Sends the notices that wait. An earlier interrupt may have closed the gate, and the user's message opens it. */
  personWrote(): void {
    this.#batch.sendSoon({ waits: true })
  }

  /** Observes that OpenCode can be reached again. */
  observeGap(): void {
    this.#deliveries.retryNow()
  }

  /** The ids of its messages that the parent has stored. */
  get storedIDs(): readonly string[] {
    return this.#deliveries.storedIDs
  }

  /**
   * Observes messages of the parent, back to the oldest of `stored`, after events were missed.
   *
   * @param stored `storedIDs` from before the read: those of them that it lacks were undone
   */
  observeHistory(messages: readonly StoredMessage[], stored: readonly string[]): void {
    this.#deliveries.observeHistory(messages, stored)
    this.#changed()
  }

  /**
   * Holds the notice of a run while a tool call of the parent waits for the end or reads it, and settles or
   * releases the notice when the call is over.
   */
  hold(task: Task, reader: Reader): Hold {
    return this.#held.hold(task, reader)
  }

  /**
   * Adopts a notice from before a restart. It wakes nobody, because the gate may have been closed then.
   *
   * @param history of the parent: the next turn reads a stored message with the notice, unless it is undone
   */
  inherit(notice: Notice, history: History): void {
    const stored = history.notice(sentKey(notice))
    this.#addSteps([notice], 'inherited')
    if (!stored) {
      this.#batch.keep([notice])
      return
    }
    const message = { ...stored, parentID: this.#parentID, parts: [] }
    const delivery = this.#deliveries.open(message, [notice], 'stored')
    for (const { info } of history.messages) delivery.observeMessage(info)
  }

  /**
   * Returns `sent` if the parent has stored a notice that it has not read, `unsent` if a notice is still to
   * be sent. A tool call that returns an end counts as `sent`, because the parent continues with its result.
   */
  owes(): 'sent' | 'unsent' | 'nothing' {
    const { places } = this.#deliveries
    if (this.#held.isRead || places.has('queued')) return 'sent'
    const isUnsent = this.#held.notices.length > 0 || this.#batch.isSending || places.has('sending')
    return isUnsent ? 'unsent' : 'nothing'
  }

  /** Whether the notice of an end waits to be sent. */
  keeps(task: Task): boolean {
    return this.#batch.has(keyOf(task, 'ended'))
  }

  /** Resolves once nothing owed is still to be sent, or after `LONGEST_SEND_MS`; `undefined` if nothing is. */
  sent(): Promise<void> | undefined {
    if (this.owes() !== 'unsent') return undefined
    return new Promise((resolve) => {
      const finish = (): void => {
        cancelLimit()
        this.#sendWaiters.delete(finish)
        resolve()
      }
      const cancelLimit = this.#ports.clock.after(LONGEST_SEND_MS, finish)
      this.#sendWaiters.add(finish)
    })
  }

  /** Whether the outbox sends the message with this id. */
  isOurs(messageID: string): boolean {
    return this.#deliveries.sends(messageID)
  }

  /** Returns the parts to piggyback on a message that the user is sending to the parent. */
  piggyback(messageID: string): readonly TextPart[] {
    for (const unstored of this.#deliveries.withdrawUnstored()) this.#batch.keep(unstored)
    const { notices, parts } = this.#batch.take()
    this.#addSteps(notices, 'piggybacked')
    if (parts.length > 0)
      this.#deliveries.open({ parentID: this.#parentID, messageID, parts }, notices, 'piggybacked')
    return parts
  }

  /** Adds the missing parts of our messages to messages that a model is about to read. */
  complete(messages: readonly MessageToRead[]): void {
    this.#deliveries.complete(messages)
  }

  observeMessage(info: Message): void {
    this.#deliveries.observeMessage(info)
    this.#changed()
  }

  observePart(part: Part): void {
    this.#held.observePart(part)
  }

  observeRemoval(messageID: string): void {
    this.#deliveries.observeRemoval(messageID)
  }

  /** Settles all notices, because the parent was deleted. */
  settleAll(): void {
    const notices = [...this.#batch.empty(), ...this.#held.notices, ...this.#deliveries.notices]
    this.#settleEnds(notices, 'gone')
    this.dispose()
  }

  /** Stops sending. The records retain the ends that are owed. */
  dispose(): void {
    this.#held.dispose()
    this.#batch.empty()
    this.#deliveries.dispose()
    this.#changed()
  }

  #changed(): void {
    this.#ports.onChange()
    if (this.#sendWaiters.size === 0 || this.owes() === 'unsent') return
    for (const finish of this.#sendWaiters) finish()
  }

  /** Settles an end that the parent has read: the parent is owed no notice of it any more. */
  settle(task: EndedTask, step: NoticeStep = 'settled'): void {
    this.#ports.timeline.addNotice(task.id, step)
    this.#ports.onSettled(task)
    this.#held.settle(task)
    // The parent knows the end, which also settles the earlier notices of the task.
    this.#withdraw(NOTICE_TYPES.map((type) => keyOf(task, type)))
  }

  #withdraw(keys: readonly string[]): void {
    for (const key of keys) this.#batch.remove(key)
    this.#deliveries.withdraw(keys)
  }

  #end(task: EndedTask, text: string): void {
    if (task.status === 'cancelled' && task.by === 'parent') {
      this.settle(task, 'cancelled')
      // Other notices may have waited for this task, the last to end.
      this.#batch.sendSoon()
      return
    }
    const notice = { task, text }
    if (this.#held.keep(notice)) this.#addSteps([notice], 'held')
    else this.#put(notice)
  }

  #put(notice: Notice): void {
    this.#addSteps([notice], 'owed')
    this.#batch.put(notice)
  }

  #delivered(end: DeliveryEnd, notices: readonly Notice[], message: NoticeMessage): void {
    if (end === 'confirmed' || end === 'gone') this.#settleEnds(notices, end)
    else this.#addSteps(notices, end)
    this.#changed()
    if (end === 'closed' || end === 'undone') this.#batch.keep(notices)
    // The user has undone the unread message, and is about to send another, which can carry the notices.
    if (end === 'undone') this.#batch.sendSoon({ waits: true })
    if (end === 'unanswered' && !this.#batch.remind(notices))
      this.#deliveries.open(message, notices, 'stored')
  }

  #settleEnds(notices: readonly Notice[], end: 'confirmed' | 'gone'): void {
    this.#addSteps(notices, end)
    for (const notice of notices) {
      if (isEndNotice(notice)) this.#ports.onSettled(notice.task)
      else if ('monitored' in notice) this.#ports.onMatchesTold(notice.task, notice.monitored.notices)
    }
  }

  /** Waits while tool calls read every end that a message reports. */
  async #admission(owed: () => readonly Notice[]): Promise<Admission> {
    const freed = (): Promise<void> | undefined => this.#held.freed(owed().map(noticeKey))
    const before = freed()
    if (before) await before
    await this.#ports.caughtUp()
    const admission = await this.#ports.gate.admission()
    return freed() ? this.#admission(owed) : admission
  }

  #addSteps(notices: readonly Notice[], step: NoticeStep): void {
    for (const { task } of notices) this.#ports.timeline.addNotice(task.id, step)
  }
}

function isUnanswered(task: Task): boolean {
  return (
    task.status === 'waiting' &&
    task.permissionRequests.some(({ unansweredAt }) => unansweredAt !== undefined)
  )
}
