/**
 * Folds the events of a run as they come, so that neither its end nor its progress needs a read of its messages. The memory
 * is bounded by the newest assistant message and the last text: the input and output of tools is dropped.
 */
import type { Message, Part } from '../../host/opencode.ts'
import { NO_USAGE, usedTogether } from '../../task/task.ts'
import {
  activityIn,
  textOf,
  transcriptOfAnswer,
  usageOf,
  type AssistantTurn,
  type RunSummary,
  type Transcript,
} from './transcript.ts'

export class RunFold {
  /** The assistant messages before the newest one. */
  #before = { usage: NO_USAGE, steps: 0, text: '' }
  #newest: AssistantTurn['info'] | undefined
  /** The parts of the newest assistant message. */
  readonly #parts = new Map<string, Part>()
  /** The newest message of the role `user`. */
  #askedID: string | undefined
  /** The message by which OpenCode continues the run after it has summarised a full context. */
  #continuationID: string | undefined

  observeMessage(info: Message): void {
    if (info.role === 'user') {
      // An event can repeat an earlier message; ids are in the order of time.
      if (this.#askedID !== undefined && info.id <= this.#askedID) return
      this.#askedID = info.id
      if (this.#newest?.summary) this.#continuationID = info.id
    } else if (!this.#newest || info.id >= this.#newest.id) {
      if (this.#newest && info.id !== this.#newest.id) this.#close(this.#newest)
      this.#newest = info
    }
  }

  observePart(part: Part): void {
    if (part.messageID !== this.#newest?.id) return
    const kept = withoutOutput(part)
    if (kept) this.#parts.set(part.id, kept)
  }

  /** The transcript of a run that has ended; `undefined` if the events do not prove that, so that it must be read. */
  transcript(promptIDs: readonly string[]): Transcript | undefined {
    const [promptID] = promptIDs
    const turn = this.#turn
    // A run of several prompts may have answered one before it saw the next.
    if (!turn || promptIDs.length !== 1 || promptID === undefined) return undefined
    // A failed call has no end of its step.
    if (!turn.info.error && !isWhole(turn.parts)) return undefined
    const asked = this.#continuationID ?? promptID
    if (this.#askedID !== asked) return undefined
    return transcriptOfAnswer(turn, asked, this.#before)
  }

  /** The progress of the run; `undefined` before its first message. */
  get summary(): RunSummary | undefined {
    const turns = this.#turn ? [this.#turn] : []
    if (this.#askedID === undefined && turns.length === 0) return undefined
    return {
      text: turns.map(({ parts }) => textOf(parts)).find((text) => text !== '') ?? this.#before.text,
      goesOn: false,
      usage: usedTogether([this.#before.usage, usageOf(turns)]),
      activity: activityIn(turns),
    }
  }

  get #turn(): AssistantTurn | undefined {
    return this.#newest && { info: this.#newest, parts: [...this.#parts.values()] }
  }

  #close(info: AssistantTurn['info']): void {
    const turn = { info, parts: [...this.#parts.values()] }
    const { usage, steps, text } = this.#before
    this.#before = {
      usage: usedTogether([usage, usageOf([turn])]),
      steps: steps + 1,
      text: (info.summary ? '' : textOf(turn.parts)) || text,
    }
    this.#parts.clear()
  }
}

/** Whether all parts have come: the last is the end of the step, and no text is still being written. */
function isWhole(parts: readonly Part[]): boolean {
  const isWritten = (part: Part): boolean => part.type !== 'text' || part.time?.end !== undefined
  return parts.some(({ type }) => type === 'step-finish') && parts.every(isWritten)
}

/** A part as far as a transcript needs it; `undefined` where it does not. */
function withoutOutput(part: Part): Part | undefined {
  switch (part.type) {
    case 'text':
    case 'step-finish':
      return part
    case 'reasoning':
      return { ...part, text: '' }
    case 'tool': {
      const { state } = part
      const bare = { ...state, input: {} }
      return {
        ...part,
        state: bare.status === 'completed' ? { ...bare, output: '', metadata: {}, attachments: [] } : bare,
      }
    }
    default:
      return undefined
  }
}
