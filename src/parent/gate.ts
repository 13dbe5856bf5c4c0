/**
 * Decides whether one parent may be written to now, and as whom: a person may be at work there, or may have stopped it.
 * The host's events keep the answer fresh, so that no launch asks again. A notice always does, because waking the wrong
 * session destroys messages that its user has undone.
 *
 * The newest turn of the parent, as its events tell it:
 *
 *   unknown → busy ⇄ retrying → idle | unsettled
 *      any ─────────────────────→ interrupted → written → busy
 *
 * `unsettled`: the turn has ended, or will, with more than one idle, so that a further idle means nothing.
 * `interrupted`: the user has stopped the turn.
 * `written`: a message comes in that may be a person's. Only an answer to it opens the gate: a plugin's message without
 * a reply wakes nobody, nor does a turn that another plugin begins after it.
 */
import { HostError, type Message, type Opencode, type Session } from '../host/opencode.ts'
import type { TaskModel } from '../task/task.ts'

export type Admission =
  /** Agent, model and variant of its last user message: a prompt without them would change them (contract 4.10). */
  | { readonly type: 'open'; readonly agent?: string; readonly model?: TaskModel }
  /**
   * Nothing may wake it: the user has interrupted it, has archived it, or has undone messages, which a prompt now would
   * delete for good (contract 4.15).
   */
  | { readonly type: 'closed' }
  | { readonly type: 'gone' }

/**
 * `opened`: nothing keeps it closed any more. `interrupted`: the user has stopped it. `deleted`: an event said so.
 * `unknown`: the host has no such session.
 */
export type GateChange = 'opened' | 'interrupted' | 'deleted' | 'unknown'

type Turn =
  | { readonly type: 'unknown' | 'busy' | 'retrying' | 'idle' | 'unsettled' | 'interrupted' }
  /**
   * `answerTo`: the message that an answer names as its parent, once the written one is stored. It is the newest one by
   * then, which another plugin may have put in from the same hook.
   */
  | { readonly type: 'written'; readonly answerTo?: string }

interface MessageTime {
  readonly id: string
  readonly createdAt: number
}

const NONE: MessageTime = { id: '', createdAt: 0 }

export class Gate {
  readonly #opencode: Opencode
  readonly #parentID: string
  readonly #onChange: (change: GateChange) => void
  /** `undefined` where the host has not told it yet. */
  #session: Session | 'gone' | undefined
  #turn: Turn = { type: 'unknown' }
  /** The newest message that may be a person's. */
  #written = NONE
  /** The newest stored message of the role `user`. */
  #newest = NONE
  /** The newest event that said idle. */
  #idleEventID: string | undefined

  constructor(opencode: Opencode, parentID: string, onChange: (change: GateChange) => void) {
    this.#opencode = opencode
    this.#parentID = parentID
    this.#onChange = onChange
  }

  /** The parent as it is now. Rejects with a `HostError`: `notFound` where it does not exist. */
  session(): Promise<Session> {
    return this.#session === undefined ? this.#ask() : this.#known(this.#session)
  }

  /** Asks for the parent anew: its user may be at work in another process, of which no event comes here. */
  async admission(): Promise<Admission> {
    try {
      const session = this.#session === 'gone' ? await this.session() : await this.#ask()
      if (isPutAway(session) || this.#isInterrupted) return { type: 'closed' }
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

  /** A message comes in that may be a person's, and whose answer ends an interruption. */
  personWrote(message: MessageTime): void {
    this.#turn = this.#isInterrupted ? { type: 'written' } : { type: 'unknown' }
    this.#written = message
  }

  observeSession(session: Session): void {
    const before = this.#session
    this.#session = session
    if (before === undefined || before === 'gone' || !isPutAway(before) || isPutAway(session)) return
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
      // The same event again is not a second idle.
      if (eventID !== undefined && this.#idleEventID === eventID) return
      this.#idleEventID = eventID ?? this.#idleEventID
      const { type: turn } = this.#turn
      // An abort while nothing runs says idle again, and one that ends a retry says nothing but idle (contract 6.3, 6.4).
      if (turn === 'idle' || turn === 'retrying') this.#enter('interrupted')
      else if (turn !== 'unsettled') this.#enter('idle')
    }
  }

  observeError(name: string | undefined): void {
    this.#enter(name === 'MessageAbortedError' ? 'interrupted' : 'unsettled')
  }

  observeMessage(info: Message): void {
    if (info.role === 'user') this.#observeStored({ id: info.id, createdAt: info.time.created })
    else if (info.error?.name === 'MessageAbortedError') this.#observeAborted(info.time.created)
    else if (this.#turn.type === 'written' && info.parentID === this.#turn.answerTo) {
      this.#turn = { type: 'busy' }
      // A notice that found it closed just now was too late for the message of the user's.
      this.#onChange('opened')
    }
  }

  #observeStored(message: MessageTime): void {
    if (message.createdAt >= this.#newest.createdAt) this.#newest = message
    if (this.#turn.type === 'written' && message.id === this.#written.id)
      this.#turn = { type: 'written', answerTo: this.#turn.answerTo ?? this.#newest.id }
  }

  /** An abort soon after a turn's beginning shows in its message alone (seen). That of an earlier turn can come late. */
  #observeAborted(createdAt: number): void {
    if (createdAt >= this.#written.createdAt) this.#enter('interrupted')
    else if (this.#turn.type === 'idle') this.#enter('unsettled')
  }

  #enter(type: Exclude<Turn['type'], 'written'>): void {
    // Only a person ends an interruption: whatever else runs there since, another plugin has begun.
    if (this.#turn.type === 'interrupted') return
    // The end of the interrupted turn can come behind what was written, and a turn that is no answer to it.
    if (this.#turn.type === 'written' && type !== 'interrupted') return
    this.#turn = { type }
    if (type === 'interrupted') this.#onChange('interrupted')
  }

  /** Whether a person has stopped it, and no turn upon a message of theirs was seen since. */
  get #isInterrupted(): boolean {
    return this.#turn.type === 'interrupted' || this.#turn.type === 'written'
  }

  async #ask(): Promise<Session> {
    const before = this.#session
    try {
      const asked = await this.#opencode.session(this.#parentID)
      // An event that came meanwhile is newer than what was asked before it.
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

/** What a session runs on just now. A prompt that named no variant is kept as `default`, which none of them is. */
export function modelOf({ model }: Session): TaskModel | undefined {
  if (!model) return undefined
  const { id: modelID, providerID, variant } = model
  return { providerID, modelID, ...(variant !== undefined && variant !== 'default' && { variant }) }
}

/** The user looks at an earlier state of the session, or has archived it. */
function isPutAway({ revert, time }: Session): boolean {
  // Taken out of the archive, it keeps a 0 there (seen).
  return revert !== undefined || (time.archived ?? 0) > 0
}
