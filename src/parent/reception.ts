/** Derives from a parent's messages, stored or by events, whether its model has seen one of ours. */
import type { Message } from '../host/opencode.ts'

/**
 * `missing`: not stored. `unanswered`: stored, and no model call has followed. `interrupted`: the user stopped the
 * turn in which it waited; it stays in the history and is read with the user's next message (contract 4.7).
 * `answered`: a model call that had it in its context has ended, well or with an error of its own.
 */
export type Reception = 'missing' | 'unanswered' | 'interrupted' | 'answered'

/** Observes the messages of a parent from before the send on, in any order and with repetitions. */
export class ReceptionTracker {
  readonly #messageID: string
  readonly #users = new Map<string, number>()
  readonly #assistants = new Map<string, Extract<Message, { role: 'assistant' }>>()

  constructor(messageID: string) {
    this.#messageID = messageID
  }

  observe(info: Message): void {
    if (info.role === 'user') this.#users.set(info.id, info.time.created)
    else this.#assistants.set(info.id, info)
  }

  /** Whether a model call with the message in its context has begun. */
  get isSeen(): boolean {
    const storedAt = this.#users.get(this.#messageID)
    return [...this.#assistants.values()].some((info) => this.#hasSeenOurs(info, storedAt))
  }

  get reception(): Reception {
    const storedAt = this.#users.get(this.#messageID)
    if (storedAt === undefined) return 'missing'
    let reception: Reception = 'unanswered'
    for (const info of this.#assistants.values()) {
      const sawOurs = this.#hasSeenOurs(info, storedAt)
      if (info.error?.name === 'MessageAbortedError') {
        if ((info.time.completed ?? 0) >= storedAt || sawOurs) reception = 'interrupted'
      } else if (sawOurs && (info.time.completed !== undefined || info.error)) return 'answered'
    }
    return reception
  }

  /** An answer names the newest user message that its call had seen; history is ordered by creation time. */
  #hasSeenOurs({ parentID }: { readonly parentID: string }, storedAt: number | undefined): boolean {
    const answers = this.#users.get(parentID)
    return (
      parentID === this.#messageID || (answers !== undefined && storedAt !== undefined && answers > storedAt)
    )
  }
}
