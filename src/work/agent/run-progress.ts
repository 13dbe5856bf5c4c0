/**
 * Tracks the progress of a run, with its text, tokens and cost, from its events, so that neither its end nor its progress needs
 * a read of all its messages. The memory is bounded by the newest assistant message and the last text.
 *
 *   waiting → following → lost
 *
 * `waiting`: the prompt of the run was not observed. `following`: each event so far continues the run. `lost`: an event was
 * missing, late or of another run, or the run continued in a way that only its messages explain; they must be read. The usage
 * is counted in this state too, because a budget must hold.
 */
import type { Message, Part, Session } from '../../host/opencode.ts'
import { NO_USAGE, usedTogether, type Usage } from '../../task/state.ts'
import {
  activityIn,
  isFinalAnswer,
  textOf,
  transcriptOfAnswer,
  type Activity,
  type AssistantTurn,
  type RunSummary,
  type Totals,
  type Transcript,
} from './transcript.ts'
import { tokensOf, usageOf } from './usage.ts'

/** The position in a run: with the newest assistant message, it makes the transcript. */
export interface Following {
  /** The prompt, or the message by which OpenCode continued the run after it had summarised a full context. */
  readonly askedID: string
  readonly newestID: string
  /** The assistant messages before the newest one. */
  readonly before: Totals
}

export class RunProgress {
  #state: 'waiting' | 'following' | 'lost' = 'waiting'
  /** The messages of the role `user`, of which a run has few. */
  readonly #userIDs = new Set<string>()
  #askedID: string
  /** The newest message of the role `user` whose meaning is not known yet. */
  #unknownID: string | undefined
  /** The newest request of OpenCode to summarise a full context. */
  #compactionID: string | undefined
  #before: Totals & { readonly text: string; readonly activity: Activity | undefined } = {
    usage: NO_USAGE,
    steps: 0,
    text: '',
    activity: undefined,
  }
  #newest: AssistantTurn['info'] | undefined
  /** The sums of the session before the run; `undefined` if no event has reported them. */
  #sumsBefore: Sums | undefined
  /** The newest sums of the session. */
  #sums: Sums | undefined
  /** The parts of the newest assistant message. */
  readonly #parts = new Map<string, Part>()

  constructor(promptID: string) {
    this.#askedID = promptID
  }

  observeMessage(info: Message): void {
    if (info.role === 'user') this.#observeUser(info.id)
    else if (this.#state !== 'waiting') this.#observeAssistant(info)
  }

  /** Stops following the run, because events were missed. */
  observeGap(): void {
    this.#state = 'lost'
  }

  observePart(part: Part): void {
    if (this.#state === 'waiting') return
    if (part.type === 'compaction') this.#observeCompaction(part)
    else if (part.messageID === this.#newest?.id) {
      const kept = outlineOf(part)
      if (kept) this.#parts.set(part.id, kept)
    }
  }

  /**
   * Compares the tokens of the session with those of the observed messages, because all events of a step may be lost.
   * OpenCode sends the session when a prompt is stored, and when a step has begun (contract 15.32).
   */
  observeSession({ tokens, cost = 0 }: Session): void {
    if (!tokens) return
    this.#sums = { tokens: tokensOf(tokens), cost }
    if (this.#state === 'lost') return
    if (!this.#newest) this.#sumsBefore = this.#sums
    else if (this.#sumsBefore !== undefined) {
      const spent = this.#sums.tokens - this.#sumsBefore.tokens
      const ended = this.#before.usage.tokens
      if (spent !== ended && spent !== ended + tokensOf(this.#newest.tokens)) this.#state = 'lost'
    }
  }

  /** The position in the run; `undefined` unless each event so far continues the run. */
  get following(): Following | undefined {
    if (this.#state !== 'following' || this.#unknownID !== undefined || !this.#newest) return undefined
    return { askedID: this.#askedID, newestID: this.#newest.id, before: this.#before }
  }

  /** The transcript of a run that has ended with a text; `undefined` if the events do not prove that. */
  transcript(): Transcript | undefined {
    const turn = this.#turn
    if (!turn || !this.following || turn.info.error || !isWhole(turn.parts)) return undefined
    // A text whose events were lost would look like none.
    return transcriptOfAnswer(turn, this.#askedID, { ...this.#before, text: undefined })
  }

  /**
   * The usage of the run so far. Once an event was missed, it is at least that of the session since `before`.
   *
   * @param before the usage of the runs before, for a run whose begin was not observed
   */
  usageSince(before: Usage): Usage {
    const counted = usedTogether([this.#before.usage, ...(this.#turn ? [usageOf([this.#turn])] : [])])
    if (this.#state !== 'lost' || !this.#sums) return counted
    const { tokens, cost } = this.#sumsBefore ?? before
    return {
      ...counted,
      tokens: Math.max(counted.tokens, this.#sums.tokens - tokens),
      cost: Math.max(counted.cost, this.#sums.cost - cost),
    }
  }

  /** Whether the newest message is a final answer, so that no step follows unless another prompt waits. */
  get isAnswered(): boolean {
    return this.#turn?.info.time.completed !== undefined && isFinalAnswer(this.#turn)
  }

  /** The progress of the run; `undefined` unless each event so far continues the run. */
  get summary(): RunSummary | undefined {
    if (this.#state !== 'following') return undefined
    const turns = this.#turn ? [this.#turn] : []
    const own = turns.filter(({ info }) => !info.summary)
    return {
      text: own.map(({ parts }) => textOf(parts)).join('') || this.#before.text,
      goesOn: false,
      usage: usedTogether([this.#before.usage, usageOf(turns)]),
      activity: activityIn(own) ?? this.#before.activity,
    }
  }

  #observeUser(id: string): void {
    // OpenCode repeats the event of a message, as for the summary of its changes.
    if (this.#userIDs.has(id) || this.#state === 'lost') return
    if (this.#state === 'waiting') {
      if (id === this.#askedID) this.#state = 'following'
      else return
    } else if (this.#newest?.summary && this.#newest.parentID === this.#compactionID) this.#askedID = id
    // A message after the final answer is not of this run. The meaning of any other shows only in its parts.
    else if (this.#turn && isFinalAnswer(this.#turn)) this.#state = 'lost'
    else this.#unknownID = id
    this.#userIDs.add(id)
  }

  #observeCompaction({ messageID, auto }: Extract<Part, { type: 'compaction' }>): void {
    if (messageID === this.#compactionID) return
    if (messageID !== this.#unknownID || !auto) {
      this.#state = 'lost'
      return
    }
    this.#compactionID = messageID
    this.#unknownID = undefined
  }

  #observeAssistant(info: AssistantTurn['info']): void {
    if (this.#newest && info.id < this.#newest.id) {
      // A repeated event changes nothing. An open message with an older id means that ids go back in time.
      if (info.time.completed === undefined) this.#state = 'lost'
      return
    }
    if (this.#newest && info.id !== this.#newest.id) this.#close(this.#newest)
    this.#newest = info
  }

  #close(info: AssistantTurn['info']): void {
    const turn = { info, parts: [...this.#parts.values()] }
    this.#parts.clear()
    if (info.time.completed === undefined || (!info.error && !isWhole(turn.parts))) this.#state = 'lost'
    const { usage, steps, text, activity } = this.#before
    const own = info.summary ? [] : turn.parts
    this.#before = {
      usage: usedTogether([usage, usageOf([turn])]),
      steps: steps + 1,
      text: textOf(own) || text,
      activity: activityIn([{ info, parts: own }]) ?? activity,
    }
  }

  get #turn(): AssistantTurn | undefined {
    return this.#newest && { info: this.#newest, parts: [...this.#parts.values()] }
  }
}

/** The sums that OpenCode reports of a session. */
type Sums = Pick<Usage, 'tokens' | 'cost'>

/** Whether all parts seem to have arrived: the step has its end, and each text is complete. */
function isWhole(parts: readonly Part[]): boolean {
  const isWritten = (part: Part): boolean => part.type !== 'text' || part.time?.end !== undefined
  return parts.some(({ type }) => type === 'step-finish') && parts.every(isWritten)
}

const TITLE_LENGTH = 200

/** Reduces a part to the fields that a transcript needs, without the input and output of tools; `undefined` for none. */
function outlineOf(part: Part): Part | undefined {
  const { id, sessionID, messageID } = part
  const own = { id, sessionID, messageID }
  switch (part.type) {
    case 'text': {
      const { text, time, ignored } = part
      return { ...own, type: 'text', text, ...(time && { time }), ...(ignored && { ignored }) }
    }
    case 'reasoning':
      return { ...own, type: 'reasoning', text: '', time: part.time }
    case 'tool': {
      const { state, tool, callID } = part
      const title = 'title' in state && state.title ? { title: state.title.slice(0, TITLE_LENGTH) } : {}
      const time = 'time' in state ? { time: { start: state.time.start } } : {}
      const outline = { status: state.status, input: {}, ...title, ...time } as typeof state
      return { ...own, type: 'tool', tool, callID, state: outline }
    }
    case 'step-finish':
      return part
    default:
      return undefined
  }
}
