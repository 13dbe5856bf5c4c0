/**
 * What each parent is still owed. A task that ends owes its parent one notice, unless the parent itself cancelled it
 * or has read its end first; notices that fall due together leave in one message, so that a burst costs one turn.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Event, Opencode } from '../opencode.ts'
import type { StatusPoll } from '../status.ts'
import { messageID, partID } from '../task/id.ts'
import type { TaskStore } from '../task/store.ts'
import { isActive, isEnded, type EndedTask } from '../task/task.ts'
import { Delivery, type Letter } from './delivery.ts'
import type { Gate } from './gate.ts'
import { closingText, noticeKey, noticeTexts, type Notice } from './notice.ts'

export interface OutboxOptions {
  readonly debounceMs: number
  readonly inlineResultBytes: number
}

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly statuses: StatusPoll
  readonly gate: Gate
}

/** The burst that is gathering for one parent. */
interface Gathering {
  readonly since: number
  readonly notices: Notice[]
  cancelTimer: () => void
}

const LONGEST_DEBOUNCES = 4

export class Outbox {
  readonly #ports: Ports
  readonly #options: OutboxOptions
  readonly #gathering = new Map<string, Gathering>()
  readonly #deliveries = new Set<Delivery>()
  /** Tasks that somebody waits for, who will read their end: how many wait, and the notice that came meanwhile. */
  readonly #held = new Map<string, { holders: number; notice?: Notice }>()
  readonly #unsubscribe: () => void
  #stopPolling: (() => void) | undefined

  constructor(ports: Ports, options: OutboxOptions) {
    this.#ports = ports
    this.#options = options
    this.#unsubscribe = ports.store.subscribe((task, event) => {
      if (event.type === 'ended' && isEnded(task)) this.#ended(task, event.outcome.text)
    })
  }

  /** Keeps the notice of a task back until the function returned is called. */
  hold(taskID: string): () => void {
    const hold = this.#held.get(taskID) ?? { holders: 0 }
    hold.holders += 1
    this.#held.set(taskID, hold)
    return () => {
      hold.holders -= 1
      if (hold.holders > 0) return
      this.#held.delete(taskID)
      if (hold.notice) this.#owe(hold.notice)
    }
  }

  /** The parent has read the end of the task: what was not sent yet is not owed any more. */
  settle(task: EndedTask): void {
    const hold = this.#held.get(task.id)
    if (hold) delete hold.notice
    const gathering = this.#gathering.get(task.parentID)
    const index = gathering?.notices.findIndex((notice) => notice.task.id === task.id) ?? -1
    if (!gathering || index === -1) return
    gathering.notices.splice(index, 1)
    if (gathering.notices.length > 0) return
    gathering.cancelTimer()
    this.#gathering.delete(task.parentID)
  }

  handleEvent(event: Event): void {
    if (event.type !== 'message.updated') return
    const { info } = event.properties
    for (const delivery of this.#deliveries) {
      if (delivery.letter.parentID === info.sessionID) delivery.sawMessage(info)
    }
  }

  /** Sends nothing any more: what is owed then is the record's to keep. */
  dispose(): void {
    this.#unsubscribe()
    for (const { cancelTimer } of this.#gathering.values()) cancelTimer()
    this.#gathering.clear()
    for (const delivery of this.#deliveries) delivery.stop()
    this.#deliveries.clear()
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }

  #ended(task: EndedTask, text: string): void {
    if (task.status === 'cancelled' && task.by === 'parent') return
    const notice = { task, text }
    const hold = this.#held.get(task.id)
    if (hold) hold.notice = notice
    else this.#owe(notice)
  }

  #owe(notice: Notice): void {
    const { parentID } = notice.task
    const now = this.#ports.clock.now()
    const gathering = this.#gathering.get(parentID) ?? { since: now, notices: [], cancelTimer: () => {} }
    this.#gathering.set(parentID, gathering)
    gathering.notices.push(notice)
    gathering.cancelTimer()
    const siblingsRun = this.#ports.store.listByParent(parentID).some(isActive)
    const end = gathering.since + LONGEST_DEBOUNCES * this.#options.debounceMs
    const wait = Math.min(this.#options.debounceMs, end - now)
    if (!siblingsRun) this.#dispatch(parentID)
    else gathering.cancelTimer = this.#ports.clock.after(wait, () => this.#dispatch(parentID))
  }

  /** Freezes what has gathered into one message and sends it. */
  #dispatch(parentID: string): void {
    const gathering = this.#gathering.get(parentID)
    if (!gathering) return
    this.#gathering.delete(parentID)
    const delivery = new Delivery(this.#ports, this.#letter(parentID, gathering.notices), () => {
      this.#deliveries.delete(delivery)
      if (this.#deliveries.size > 0) return
      this.#stopPolling?.()
      this.#stopPolling = undefined
    })
    this.#deliveries.add(delivery)
    this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => {
      for (const each of this.#deliveries) void each.sawStatuses(statuses)
    })
    void delivery.send()
  }

  #letter(parentID: string, notices: readonly Notice[]): Letter {
    const unfinished = this.#ports.store.listByParent(parentID).filter((task) => !isEnded(task)).length
    const parts = noticeTexts(notices, this.#options.inlineResultBytes).map((text, index) => {
      const notice = notices[index] as Notice
      return { id: partID(noticeKey(notice), notice.task.endedAt), text, synthetic: true }
    })
    const first = notices[0] as Notice
    const key = noticeKey(first)
    // The host orders the parts of a message by their ids, and so by the time in them: this one is to be the last.
    const last = Math.max(...notices.map((notice) => notice.task.endedAt)) + 1
    const closing = { id: partID(`${key} closing`, last), text: closingText(unfinished), synthetic: true }
    return { parentID, messageID: messageID(key, first.task.endedAt), parts: [...parts, closing] }
  }
}
