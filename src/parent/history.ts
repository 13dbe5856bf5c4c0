/** Reads from a parent's messages which ends its model knows. One pass serves any number of tasks. */
import type { StoredMessage } from '../host/opencode.ts'
import { keyDigest, keyDigestIn } from '../task/id.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'
import { keyOf, piggybackKey } from './notice.ts'
import { ReceptionTracker, type Reception } from './reception.ts'

/** Metadata of a tool's result that names the end which it returns; empty before the task has ended. */
export interface Receipt {
  readonly backgroundRead?: string
}

/** Returns the receipt from which a later process learns that the parent's model has read this end. */
export function receiptOf(task: Task): Receipt {
  return isEnded(task) ? { backgroundRead: readKey(task) } : {}
}

/** Returns the value of an end's receipt. Includes the status, because a run that was recorded as interrupted may turn out to have completed. */
export function readKey({ id, run, status }: Pick<EndedTask, 'id' | 'run' | 'status'>): string {
  return `${id} ${run} ${status}`
}

export class History {
  readonly messages: readonly StoredMessage[]
  /** The index of the first message that holds a text part, by the digest of the part's key. */
  readonly #places = new Map<string, number>()
  /** The ends that tool calls have returned, as their receipts name them. */
  readonly #read = new Set<string>()

  constructor(messages: readonly StoredMessage[]) {
    this.messages = messages
    for (const [index, { parts }] of messages.entries()) {
      for (const part of parts) {
        if (part.type === 'text') {
          const digest = keyDigestIn(part.id)
          if (!this.#places.has(digest)) this.#places.set(digest, index)
        } else if (part.type === 'tool' && part.state.status === 'completed') {
          const { backgroundRead } = part.state.metadata
          if (typeof backgroundRead === 'string') this.#read.add(backgroundRead)
        }
      }
    }
  }

  /** Returns the message that holds the notice of this key, as its own or piggybacked, and its reception. */
  notice(key: string): { readonly messageID: string; readonly reception: Reception } | undefined {
    const index = this.#places.get(keyDigest(key)) ?? this.#places.get(keyDigest(piggybackKey(key)))
    if (index === undefined) return undefined
    const messageID = this.messages[index]?.info.id ?? ''
    const tracker = new ReceptionTracker(messageID)
    for (let next = index; next < this.messages.length; next += 1) {
      const info = this.messages[next]?.info
      if (info) tracker.observe(info)
      // Usually true within two messages.
      if (info?.role === 'assistant' && tracker.reception === 'answered') break
    }
    return { messageID, reception: tracker.reception }
  }

  /** Whether the parent's model knows an end from a notice or a tool call, or cancelled the task itself. */
  knows(task: EndedTask): boolean {
    if (task.status === 'cancelled' && task.by === 'parent') return true
    if (this.#read.has(readKey(task))) return true
    return this.notice(keyOf(task, 'ended'))?.reception === 'answered'
  }
}
