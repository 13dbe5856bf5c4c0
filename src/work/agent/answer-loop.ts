/**
 * Counts answers in a loop: OpenCode prompts the model again after an answer without a finish, with an unknown finish, or with
 * `tool-calls` but no tool call (seen), and would do so for ever.
 */
import type { Message } from '../../host/opencode.ts'

/** The number of answers in a row, without a known finish or a tool call, that stops a run. */
export const LOOPS = 5
/** Finishes that end a turn, unless the answer holds a tool call (contract 1.3b). */
const KNOWN_FINISHES: ReadonlySet<string> = new Set(['stop', 'length', 'content-filter', 'error'])

export class AnswerLoop {
  /** The newest completed answer. */
  #messageID = ''
  #answers = 0

  /** How many answers in a row had neither a known finish nor a tool call. */
  get answers(): number {
    return this.#answers
  }

  observeToolCall(messageID: string): void {
    this.#messageID = messageID
    this.#answers = 0
  }

  /** Observes a completed answer. Returns whether it makes the loop long enough to stop its run. */
  observeAnswer({ id, finish, error, summary }: Extract<Message, { role: 'assistant' }>): boolean {
    if (error || summary || id === this.#messageID) return false
    this.#messageID = id
    this.#answers = finish !== undefined && KNOWN_FINISHES.has(finish) ? 0 : this.#answers + 1
    return this.#answers === LOOPS
  }
}
