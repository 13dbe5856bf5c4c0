/**
 * Decides whether a notice may wake one parent now, and with which agent and model: a person may be working
 * there, or may have stopped it. Events keep the session current, so that a launch needs no query. A notice
 * always queries it, because waking the wrong session destroys messages that its user has undone.
 *
 * The newest turn of the parent, as its events report it:
 *
 *   unknown → busy ⇄ retrying → idle | unsettled
 *      any ─────────────────────→ interrupted → written → busy
 *
 * `unsettled`: the turn ends with several idle events, so that a further idle means nothing.
 * `interrupted`: the user has stopped the turn.
 * `written`: a message arrives that may be a person's. Only an answer to it opens the gate. A plugin's
 * message without a reply does not, nor does a later turn that another plugin begins.
 */
import { HostError, type Message, type Opencode, type Session } from '../host/opencode.ts'
import { modelOf } from '../task/model.ts'
import type { TaskModel } from '../task/state.ts'

export type Admission =
  /** Agent and model of the last user message: a prompt without them changes them (contract 4.10). */
  | { readonly type: 'open'; readonly agent?: string; readonly model?: TaskModel }
  /**
   * No notice may wake the parent: its user has interrupted it, archived it, or undone messages, which a
   * prompt now would delete for good (contract 4.15).
   */
  | { readonly type: 'closed' }
  | { readonly type: 'gone' }

/**
 * `opened`: the gate is no longer closed. `interrupted`: the user has stopped the turn. `deleted`: an event
 * reported it. `unknown`: OpenCode has no such session.
 */
export type GateChange = 'opened' | 'interrupted' | 'deleted' | 'unknown'

type Turn =
  | { readonly type: 'unknown' | 'busy' | 'retrying' | 'idle' | 'unsettled' | 'interrupted' }
  /**
   * `answerTo`: the message that an answer names as its parent, set once the written one is stored. It is the
   * newest message at that time, which another plugin may have inserted from the same hook.
   */
  | { readonly type: 'written'; readonly answerTo?: string }

interface MessageTime {
  readonly id: string
  readonly createdAt: number
}

const NONE: MessageTime = { id: '', createdAt: 0 }

export class QuietGate {
  readonly #opencode: Opencode
  readonly #parentID: string
  readonly #onChange: (change: GateChange) => void
  /** `undefined` until OpenCode has reported it. */
  #session: Session | 'gone' | undefined
  #turn: Turn = { type: 'unknown' }
  /** The newest message that may be a person's. */
  #written = NONE
  /** The newest stored message of the role `user`. */
  #newest = NONE
  /** When the newest observed answer was begun. */
  #answeredAt = 0
  /** When the answer was begun that the newest interrupt has stopped. Older messages do not open the gate. */
  #stoppedAt = 0
  /** The id of the newest idle event. */
  #idleEventID: string | undefined

  constructor(opencode: Opencode, parentID: string, onChange: (change: GateChange) => void) {
    this.#opencode = opencode
    this.#parentID = parentID
    this.#onChange = onChange
  }

  /** Returns the parent session. Rejects with a `HostError`: `notFound` when it does not exist. */
  session(): Promise<Session> {
    return this.#session === undefined ? this.#ask() : this.#known(this.#session)
  }

  /**
   * Queries the parent, because its user may work in another process, whose events do not arrive here. The query is
   * the last thing before the notice: an earlier one would miss an undo, whose messages the notice then deletes.
   */
  async admission(): Promise<Admission> {
    try {
      if (this.#session !== 'gone') await this.#ask()
      const session = await this.session()
      if (isArchivedOrUndone(session) || this.#isInterrupted) return { type: 'closed' }
      const model = modelOf(session)
      return {
        type: 'open',
        ...(session.agent !== undefined && { agent: session.agent }),
        ...(model && { model }),
      }
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') return { type: 'gone' }
      throw error
    }
  }

  /** Observes an incoming message that may be a person's. An answer to it ends an interruption. */
  personWrote(message: MessageTime): void {
    this.#turn = this.#isInterrupted ? { type: 'written' } : { type: 'unknown' }
    this.#written = message
  }

  /**
   * Observes a stored message that may be a person's and that no hook has reported, as in another process than OpenCode's or
   * after missed events. Returns false if this message or a newer one is already known, or was interrupted.
   */
  personStored(message: MessageTime): boolean {
    if (message.id === this.#written.id || message.createdAt < this.#written.createdAt) return false
    // A read after missed events finds the message again whose turn was interrupted.
    if (this.#isInterrupted && message.createdAt <= this.#stoppedAt) return false
    this.#turn = this.#isInterrupted ? { type: 'written', answerTo: message.id } : { type: 'unknown' }
    this.#written = message
    return true
  }

  /** Returns the newest stored message of the role `user`, if it has this id. */
  stored(messageID: string): MessageTime | undefined {
    return this.#newest.id === messageID ? this.#newest : undefined
  }

  /** Observes that events were missed, so that a repeated idle event no longer proves that the user has interrupted the turn. */
  observeGap(): void {
    this.#enter('unsettled')
  }

  /** Queries the parent after events were missed. Rejects with a `HostError`. */
  async refresh(): Promise<void> {
    const before = this.#session
    const session = await this.#opencode.session(this.#parentID)
    // An event that arrived meanwhile is newer.
    if (this.#session === before) this.observeSession(session)
  }

  /** The newest turn, as far as its events have reported it. */
  get turn(): Turn['type'] {
    return this.#turn.type
  }

  observeSession(session: Session): void {
    const before = this.#session
    this.#session = session
    if (
      before === undefined ||
      before === 'gone' ||
      !isArchivedOrUndone(before) ||
      isArchivedOrUndone(session)
    )
      return
    if (!this.#isInterrupted) this.#onChange('opened')
  }

  observeDeleted(): void {
    this.#session = 'gone'
    this.#onChange('deleted')
  }

  observeStatus(type: 'busy' | 'retry' | 'idle', eventID: string | undefined): void {
    if (type === 'busy') this.#enter('busy')
    else if (type === 'retry') this.#enter('retrying')
    else {
      // A repeated event is no second idle.
      if (eventID !== undefined && this.#idleEventID === eventID) return
      this.#idleEventID = eventID ?? this.#idleEventID
      const { type: turn } = this.#turn
      // An abort without a turn emits a second idle; one of a retry emits only idle (contract 6.3, 6.4).
      if (turn === 'idle' || turn === 'retrying') this.#enter('interrupted')
      else if (turn !== 'unsettled') this.#enter('idle')
    }
  }

  observeError(name: string | undefined): void {
    this.#enter(name === 'MessageAbortedError' ? 'interrupted' : 'unsettled')
  }

  observeMessage(info: Message): void {
    if (info.role === 'assistant') this.#answeredAt = Math.max(this.#answeredAt, info.time.created)
    if (info.role === 'user') this.#observeStored({ id: info.id, createdAt: info.time.created })
    else if (info.error?.name === 'MessageAbortedError') this.#observeAborted(info.time.created)
    else if (this.#turn.type === 'written' && info.parentID === this.#turn.answerTo) {
      this.#turn = { type: 'busy' }
      // A notice that found the gate closed just before came too late to be piggybacked on the user's message.
      this.#onChange('opened')
    }
  }

  #observeStored(message: MessageTime): void {
    if (message.createdAt >= this.#newest.createdAt) this.#newest = message
    if (this.#turn.type === 'written' && message.id === this.#written.id)
      this.#turn = { type: 'written', answerTo: this.#turn.answerTo ?? this.#newest.id }
  }

  /** Only the message shows an abort early in a turn (seen). An earlier turn's message can arrive late. */
  #observeAborted(createdAt: number): void {
    if (createdAt >= this.#written.createdAt) {
      this.#enter('interrupted')
      this.#stoppedAt = Math.max(this.#stoppedAt, createdAt)
    } else if (this.#turn.type === 'idle') this.#enter('unsettled')
  }

  #enter(type: Exclude<Turn['type'], 'written'>): void {
    // Only a person ends an interruption: another plugin has begun any turn since.
    if (this.#turn.type === 'interrupted') return
    // The end of the interrupted turn, or an unrelated turn, can follow the written message.
    if (this.#turn.type === 'written' && type !== 'interrupted') return
    this.#turn = { type }
    if (type !== 'interrupted') return
    this.#stoppedAt = this.#answeredAt
    this.#onChange('interrupted')
  }

  /** Whether a person has stopped the parent, and no answer to a later message was observed. */
  get #isInterrupted(): boolean {
    return this.#turn.type === 'interrupted' || this.#turn.type === 'written'
  }

  async #ask(): Promise<Session> {
    const before = this.#session
    try {
      const asked = await this.#opencode.session(this.#parentID)
      // An event that arrived meanwhile is newer than the queried session.
      if (this.#session === before) this.#session = asked
      return await this.#known(this.#session ?? asked)
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') this.#onChange('unknown')
      throw error
    }
  }

  #known(session: Session | 'gone'): Promise<Session> {
    if (session !== 'gone') return Promise.resolve(session)
    return Promise.reject(new HostError('notFound', `Session ${this.#parentID} was deleted`))
  }
}

/** Whether the user has undone messages of the session, or archived it. */
function isArchivedOrUndone({ revert, time }: Session): boolean {
  // OpenCode sets 0 when a session leaves the archive (seen).
  return revert !== undefined || (time.archived ?? 0) > 0
}
