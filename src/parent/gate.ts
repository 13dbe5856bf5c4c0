/**
 * May this parent be written to now, and as whom? A person may be at work there, or may have stopped it. The host's
 * events keep the answer fresh, so that no launch asks again; a notice does, since what it may do harm to is the user's.
 */
import { HostError, type Event, type Message, type Opencode, type Session } from '../host/opencode.ts'
import type { TaskModel } from '../task/task.ts'

export type Admission =
  /** Agent, model and variant of its last user message: a prompt without them would change them (contract 4.10). */
  | { readonly type: 'open'; readonly agent?: string; readonly model?: TaskModel }
  /**
   * Nothing may wake it: the user has interrupted it, has put it into the archive, or has undone messages, which a
   * prompt now would delete for good (contract 4.15).
   */
  | { readonly type: 'closed' }
  | { readonly type: 'gone' }

/** `opened`: nothing keeps it closed any more. `interrupted`: the user has stopped it. */
export type GateListener = (parentID: string, change: 'opened' | 'interrupted') => void

/**
 * How the newest turn of a parent goes, as its events tell it.
 *
 *   unknown → busy ⇄ retrying → idle | unsettled
 *      any ─────────────────────→ interrupted → written → busy
 *
 * `written`: a message comes in that may be a person's. Only an answer to it shows that it was meant to be answered: a
 * plugin's message without a reply wakes nobody, nor does a turn that another plugin begins after it.
 * `unsettled` has ended, or will, with more than one idle, so that another says nothing.
 */
type Turn = 'unknown' | 'busy' | 'retrying' | 'idle' | 'unsettled' | 'interrupted' | 'written'

interface Parent {
  /** `undefined` where the host has not told it yet. */
  session: Session | 'gone' | undefined
  turn: Turn
  /** The newest message that may be a person's. */
  written: { readonly id: string; readonly createdAt: number }
  /** The newest message that is stored there and is no answer. */
  newest: { readonly id: string; readonly createdAt: number }
  /**
   * The message that an answer to `written` names as its parent, once that is stored: the newest one by then, which another
   * plugin may have put in from the same hook.
   */
  awaitedID: string | undefined
  /** The newest event that said idle. */
  idleEventID?: string
}

export class Gate {
  readonly #opencode: Opencode
  readonly #parents = new Map<string, Parent>()
  readonly #listeners = new Set<GateListener>()

  constructor(opencode: Opencode) {
    this.#opencode = opencode
  }

  subscribe(listener: GateListener): void {
    this.#listeners.add(listener)
  }

  /** The parent as it is now. Rejects with a `HostError`: `notFound` where it does not exist. */
  async session(parentID: string): Promise<Session> {
    const known = this.#parents.get(parentID)
    if (known?.session === 'gone') throw new HostError('notFound', `Session ${parentID} was deleted`)
    if (known?.session) return known.session
    const parent = known ?? this.#add(parentID)
    const asked = await this.#opencode.session(parentID)
    // An event that came meanwhile is newer than what was asked before it.
    parent.session ??= asked
    return parent.session === 'gone' ? asked : parent.session
  }

  /** Rejects with a `HostError` where the host does not say. */
  async admission(parentID: string): Promise<Admission> {
    try {
      const session = await this.#asked(parentID)
      if (isPutAway(session) || this.#isInterrupted(parentID)) return { type: 'closed' }
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

  /** As it is now: its user may be at work in another process, of which no event comes here. */
  async #asked(parentID: string): Promise<Session> {
    const known = this.#parents.get(parentID)
    if (!known?.session || known.session === 'gone') return this.session(parentID)
    const before = known.session
    const asked = await this.#opencode.session(parentID)
    // An event that came meanwhile is newer.
    if (known.session === before) known.session = asked
    return this.session(parentID)
  }

  /**
   * A message comes into the session that may be a person's, and whose answer ends an interruption. The session may become a
   * parent in that turn.
   */
  personWrote(sessionID: string, message: { readonly id: string; readonly createdAt: number }): void {
    const parent = this.#parents.get(sessionID) ?? this.#add(sessionID)
    parent.turn = this.#isInterrupted(sessionID) ? 'written' : 'unknown'
    parent.written = message
    parent.awaitedID = undefined
  }

  #add(sessionID: string): Parent {
    const none = { id: '', createdAt: 0 }
    const parent: Parent = {
      session: undefined,
      turn: 'unknown',
      written: none,
      newest: none,
      awaitedID: undefined,
    }
    this.#parents.set(sessionID, parent)
    return parent
  }

  /** Whether a person has stopped it, and no turn upon a message of theirs was seen since. */
  #isInterrupted(parentID: string): boolean {
    const turn = this.#parents.get(parentID)?.turn
    return turn === 'interrupted' || turn === 'written'
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'session.status':
        this.#observeStatus(event.properties.sessionID, event.properties.status.type, event.id)
        return
      case 'session.error': {
        const { sessionID, error } = event.properties
        if (sessionID === undefined) return
        this.#change(sessionID, error?.name === 'MessageAbortedError' ? 'interrupted' : 'unsettled')
        return
      }
      case 'message.updated':
        this.#observeMessage(event.properties.info)
        return
      case 'session.updated':
        this.#observeSession(event.properties.info)
        return
      case 'session.deleted': {
        const parent = this.#parents.get(event.properties.info.id)
        if (parent) parent.session = 'gone'
        return
      }
      default:
        return
    }
  }

  #observeSession(session: Session): void {
    const parent = this.#parents.get(session.id)
    if (!parent) return
    const before = parent.session
    parent.session = session
    if (before === undefined || before === 'gone' || !isPutAway(before) || isPutAway(session)) return
    if (!this.#isInterrupted(session.id)) this.#notifyListeners(session.id, 'opened')
  }

  #observeStatus(sessionID: string, type: 'busy' | 'retry' | 'idle', eventID: string | undefined): void {
    const parent = this.#parents.get(sessionID)
    if (!parent) return
    const { turn } = parent
    if (type === 'idle') {
      // The same event again is not a second idle.
      if (eventID !== undefined && parent.idleEventID === eventID) return
      if (eventID !== undefined) parent.idleEventID = eventID
    }
    if (type === 'busy') this.#change(sessionID, 'busy')
    else if (type === 'retry') this.#change(sessionID, 'retrying')
    // An abort while nothing runs says idle again, and one that ends a retry says nothing but idle (contract 6.3, 6.4).
    else if (turn === 'idle' || turn === 'retrying') this.#change(sessionID, 'interrupted')
    else if (turn !== 'unsettled') this.#change(sessionID, 'idle')
  }

  #observeMessage(info: Message): void {
    const parent = this.#parents.get(info.sessionID)
    if (!parent) return
    if (info.role === 'user') observeStored(parent, info)
    else if (info.error?.name === 'MessageAbortedError') this.#observeAborted(parent, info)
    else if (parent.turn === 'written' && info.parentID === parent.awaitedID) {
      parent.turn = 'busy'
      // A notice that found it closed just now was too late for the message of the user's.
      this.#notifyListeners(info.sessionID, 'opened')
    }
  }

  /** An abort soon after a turn's beginning shows in its message alone (seen). That of an earlier turn can come late. */
  #observeAborted(parent: Parent, { sessionID, time }: Message): void {
    if (time.created >= parent.written.createdAt) this.#change(sessionID, 'interrupted')
    else if (parent.turn === 'idle') this.#change(sessionID, 'unsettled')
  }

  #change(sessionID: string, turn: Turn): void {
    const parent = this.#parents.get(sessionID)
    // Only a person ends an interruption: whatever else runs there since, another plugin has begun.
    if (!parent || parent.turn === 'interrupted') return
    // The end of the interrupted turn can come behind what was written, and a turn that is no answer to it.
    if (parent.turn === 'written' && turn !== 'interrupted') return
    parent.turn = turn
    if (turn === 'interrupted') this.#notifyListeners(sessionID, 'interrupted')
  }

  #notifyListeners(parentID: string, change: 'opened' | 'interrupted'): void {
    for (const listener of this.#listeners) listener(parentID, change)
  }
}

function observeStored(parent: Parent, { id, time: { created: createdAt } }: Message): void {
  if (createdAt >= parent.newest.createdAt) parent.newest = { id, createdAt }
  if (id === parent.written.id) parent.awaitedID ??= parent.newest.id
}

/** What a session runs on just now. A prompt that named no variant is kept as `default`, which none of them is. */
export function modelOf({ model }: Session): TaskModel | undefined {
  if (!model) return undefined
  const { id: modelID, providerID, variant } = model
  return { providerID, modelID, ...(variant !== undefined && variant !== 'default' && { variant }) }
}

/** The user looks at an earlier state of the session, or has done with it. */
function isPutAway({ revert, time }: Session): boolean {
  // Taken out of the archive, it keeps a 0 there (seen).
  return revert !== undefined || (time.archived ?? 0) > 0
}
