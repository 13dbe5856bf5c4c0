/**
 * Stores the fake host's sessions, messages and parts, and sends an event for every write.
 * Like the real host, it keys messages and parts by id alone, over all sessions (contract 4.14, 4.18).
 */
import type { Clock } from '../../src/clock.ts'
import {
  HostError,
  type Event,
  type Message,
  type Part,
  type Session,
  type StoredMessage,
} from '../../src/host/opencode.ts'

/** Sends an event of the given type. */
export type Emit = <Type extends Event['type']>(
  type: Type,
  properties: Extract<Event, { type: Type }>['properties'],
) => void

export class FakeStore {
  readonly #clock: Clock
  readonly #emit: Emit
  readonly #sessions = new Map<string, Session>()
  readonly #messages = new Map<string, Message>()
  readonly #parts = new Map<string, Part>()
  /** The ids of each session's messages in the order of their first save, and of each message's parts. */
  readonly #messagesOf = new Map<string, Set<string>>()
  readonly #partsOf = new Map<string, Set<string>>()
  #idCount = 0

  constructor(clock: Clock, emit: Emit) {
    this.#clock = clock
    this.#emit = emit
  }

  /** Returns an id in the host's form, ascending with time (contract 4.17). */
  newID(prefix: 'ses' | 'msg' | 'prt' | 'evt'): string {
    const count = ++this.#idCount
    const time = (BigInt(this.#clock.now()) * 4096n + BigInt(count % 4096)) % 2n ** 48n
    return `${prefix}_${time.toString(16).padStart(12, '0')}${String(count).padStart(14, '0')}`
  }

  createSession(fields: Partial<Session>): Session {
    const id = this.newID('ses')
    const time = { created: this.#clock.now(), updated: this.#clock.now() }
    const place = { slug: 'fake', projectID: 'fake', directory: '/project', version: '1.18.33' }
    const tokens = { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } }
    const session: Session = { id, title: 'New session', cost: 0, tokens, ...place, ...fields, time }
    this.#sessions.set(id, session)
    this.#emit('session.created', { sessionID: id, info: session })
    return session
  }

  has(sessionID: string): boolean {
    return this.#sessions.has(sessionID)
  }

  session(sessionID: string): Session {
    const session = this.#sessions.get(sessionID)
    if (session === undefined) throw new HostError('notFound', `Session not found: ${sessionID}`)
    return session
  }

  get all(): Iterable<Session> {
    return this.#sessions.values()
  }

  children(parentID: string): Session[] {
    return [...this.#sessions.values()].filter((session) => session.parentID === parentID)
  }

  updateSession(sessionID: string, changes: Partial<Session>): void {
    const before = this.session(sessionID)
    this.replaceSession({ ...before, ...changes })
  }

  replaceSession(session: Session): void {
    const info = { ...session, time: { ...session.time, updated: this.#clock.now() } }
    this.#sessions.set(info.id, info)
    this.#emit('session.updated', { sessionID: info.id, info })
  }

  /** Deletes the messages that the user has undone (contract 4.15). */
  dropReverted(sessionID: string): void {
    const { revert, ...session } = this.session(sessionID)
    if (revert === undefined) return
    const ids = this.messages(sessionID).map(({ info }) => info.id)
    for (const messageID of ids.slice(ids.indexOf(revert.messageID))) {
      this.#removeMessage(messageID)
      this.#emit('message.removed', { sessionID, messageID })
    }
    this.replaceSession(session)
  }

  /** Deletes a session after its children, the youngest generation first (contract 7). */
  deleteSession(sessionID: string): void {
    const info = this.session(sessionID)
    for (const child of this.#sessions.values())
      if (child.parentID === sessionID) this.deleteSession(child.id)
    this.#sessions.delete(sessionID)
    for (const messageID of this.#messagesOf.get(sessionID) ?? []) this.#removeMessage(messageID)
    this.#messagesOf.delete(sessionID)
    this.#emit('session.deleted', { sessionID, info })
  }

  /** Deletes a message and its parts, whose ids are free again. */
  #removeMessage(messageID: string): void {
    const message = this.#messages.get(messageID)
    this.#messages.delete(messageID)
    if (message) this.#messagesOf.get(message.sessionID)?.delete(messageID)
    for (const partID of this.#partsOf.get(messageID) ?? []) {
      const part = this.#parts.get(partID)
      if (part) this.#count(part, -1)
      this.#parts.delete(partID)
    }
    this.#partsOf.delete(messageID)
  }

  /** Adds the end of a step to the sums of its session, without an event (contract 15.32). */
  #count(part: Part, times: 1 | -1): void {
    const session = this.#sessions.get(part.sessionID)
    if (part.type !== 'step-finish' || !session?.tokens) return
    const { input, output, reasoning, cache } = part.tokens
    const sums = session.tokens
    const tokens = {
      input: sums.input + times * input,
      output: sums.output + times * output,
      reasoning: sums.reasoning + times * reasoning,
      cache: { read: sums.cache.read + times * cache.read, write: sums.cache.write + times * cache.write },
    }
    this.#sessions.set(session.id, { ...session, cost: (session.cost ?? 0) + times * part.cost, tokens })
  }

  /** Stores a message. A known id retains its place and session; all other fields are replaced. */
  saveMessage<Info extends Message>(info: Info): Info {
    this.#assertWritable(info.sessionID, 'message')
    const before = this.#messages.get(info.id)
    const sessionID = before?.sessionID ?? info.sessionID
    this.#messages.set(info.id, { ...info, sessionID })
    addTo(this.#messagesOf, sessionID, info.id)
    this.#emit('message.updated', { sessionID: info.sessionID, info })
    return info
  }

  /** Stores a part. A known id stays with its message; all other fields are replaced. */
  savePart<Stored extends Part>(part: Stored): Stored {
    this.#assertWritable(part.sessionID, 'part')
    const before = this.#parts.get(part.id)
    const messageID = before?.messageID ?? part.messageID
    if (!before) this.#count(part, 1)
    this.#parts.set(part.id, { ...part, messageID })
    addTo(this.#partsOf, messageID, part.id)
    const { sessionID } = part
    this.#emit('message.part.updated', { sessionID, part, time: this.#clock.now() })
    return part
  }

  /** Returns the messages in the order of their first save, with their parts in the order of their ids. */
  messages(sessionID: string): StoredMessage[] {
    return [...(this.#messagesOf.get(sessionID) ?? [])]
      .flatMap((id) => this.#messages.get(id) ?? [])
      .map((info) => ({ info, parts: this.#partsIn(info.id) }))
  }

  #partsIn(messageID: string): Part[] {
    return [...(this.#partsOf.get(messageID) ?? [])].toSorted().flatMap((id) => this.#parts.get(id) ?? [])
  }

  /** Throws for a deleted session, so that its run fails at its next write (contract 1.11). */
  #assertWritable(sessionID: string, table: string): void {
    if (!this.has(sessionID)) throw new Error(`Failed query: insert into "${table}"`)
  }
}

function addTo(index: Map<string, Set<string>>, key: string, id: string): void {
  const ids = index.get(key)
  if (ids) ids.add(id)
  else index.set(key, new Set([id]))
}
