/**
 * Queries OpenCode after missed events, and passes the answers to the rooms. A status poll makes them check agents, permission
 * requests, deliveries and tool calls. Each parent's session is read before its next notice; while the stream is away, before each
 * notice.
 */
import { sessionDeleted, sessionUpdated, type ObservingRooms } from './events.ts'
import { readBack } from './host/read-back.ts'
import { isPersonal } from './host/message.ts'
import type { Log } from './host/log.ts'
import { errorText, HostError, type Message, type Opencode, type StoredMessage } from './host/opencode.ts'
import type { StatusPoll } from './host/status-poll.ts'
import type { QuietGate } from './parent/quiet-gate.ts'
import type { Parent } from './parent/parent.ts'
import type { Catalogue } from './work/agent/catalogue.ts'

/** How many parents are read at the same time: OpenCode does nothing else meanwhile. */
const AT_ONCE = 4

interface Ports {
  /** Whether events arrive. */
  readonly isConnected: () => boolean
  readonly opencode: Opencode
  readonly log: Log
}

/** The rooms that missed events concern. */
export interface MissingRooms extends ObservingRooms {
  readonly catalogue: Catalogue
  readonly statuses: StatusPoll
}

export class MissedEvents {
  readonly #rooms: MissingRooms
  readonly #ports: Ports
  /** The reads that are due, because events were missed or are; one is removed when it has succeeded. */
  readonly #gaps = new WeakMap<Parent, { reading: Promise<void> | undefined }>()

  constructor(rooms: MissingRooms, ports: Ports) {
    this.#rooms = rooms
    this.#ports = ports
  }

  /** Observes that events may have been missed, and that they arrive again from now on. */
  observeGap(): void {
    const { agents, catalogue, permissions, statuses } = this.#rooms
    const parents = [...this.#rooms.parents.all()]
    // Synchronously, because the next event does not continue from the last one.
    for (const room of [agents, catalogue, permissions]) room.observeGap()
    for (const parent of parents) {
      this.#gaps.set(parent, { reading: undefined })
      parent.gate.observeGap()
      parent.outbox.observeGap()
    }
    statuses.pollNow()
    const left = parents.values()
    for (let reader = 0; reader < AT_ONCE; reader += 1) void this.#readAll(left)
  }

  /** Reads a parent if events were missed, or are. Rejects with a `HostError`; the next call retries. */
  async catchUp(parent: Parent): Promise<void> {
    if (!this.#ports.isConnected() && !this.#gaps.has(parent)) this.#gaps.set(parent, { reading: undefined })
    for (let gap = this.#gaps.get(parent); gap; gap = this.#gaps.get(parent)) {
      try {
        await (gap.reading ??= this.#readParent(parent))
        // Events may have been missed again.
        if (this.#gaps.get(parent) === gap) this.#gaps.delete(parent)
      } catch (error) {
        gap.reading = undefined
        throw error
      }
    }
  }

  /** Reads parents; several calls share one iterator. */
  async #readAll(parents: Iterable<Parent>): Promise<void> {
    for (const parent of parents) await this.#read(parent)
  }

  /** Never rejects: a parent that cannot be read now is read before its next notice. */
  async #read(parent: Parent): Promise<void> {
    try {
      await this.catchUp(parent)
      await this.#readChildren(parent)
    } catch (error) {
      this.#ports.log.warn(`could not read what ${parent.id} did without events: ${errorText(error)}`)
    }
  }

  /** Reads a parent's messages and session, and passes them to its gate and its outbox. Rejects with a `HostError`. */
  async #readParent({ id, gate, outbox }: Parent): Promise<void> {
    const { isConnected } = this.#ports
    try {
      // No event shows a turn meanwhile.
      if (!isConnected()) gate.observeGap()
      const known = outbox.storedIDs
      const { messages, isBusy } = await this.#readTurn(id, known)
      // Before the gate: an open gate sends messages again, which may have been answered already.
      outbox.observeHistory(messages, known)
      observeHistory(gate, messages, isBusy)
      await gate.refresh()
    } catch (error) {
      const { message, reason } = error as HostError
      if (reason !== 'notFound') throw error
      // It may be the answer of a proxy whose server is away.
      if (!isConnected()) throw new HostError('noAnswer', message)
      gate.observeDeleted()
    }
  }

  /**
   * Returns the newest messages of a session, back to the oldest of `known`, and whether its turn goes on. Reads again if a turn
   * has begun or ended meanwhile, because its messages would look as if it had been cut off, or were going on.
   */
  async #readTurn(
    id: string,
    known: readonly string[],
  ): Promise<{ readonly messages: readonly StoredMessage[]; readonly isBusy: boolean }> {
    const { opencode } = this.#ports
    const wasBusy = id in (await opencode.statuses())
    const messages = await readBack(opencode, id, (newest) =>
      known.every((messageID) => newest.some(({ info }) => info.id === messageID)),
    )
    const isBusy = id in (await opencode.statuses())
    if (wasBusy && !isBusy) return this.#readTurn(id, known)
    const newest = messages.at(-1)?.info
    if (!isBusy && newest && wasCutOff(newest)) {
      const [now] = await opencode.newestMessages(id, 1)
      if (now && !(now.info.id === newest.id && wasCutOff(now.info))) return this.#readTurn(id, known)
    }
    return { messages, isBusy }
  }

  /** Observes the changed and deleted sessions of tasks: a deleted one that is busy looks like any other in the statuses. */
  async #readChildren({ id, tasks }: Parent): Promise<void> {
    // Before the call, because the list lacks sessions that are created meanwhile.
    const known = tasks.list()
    if (known.length === 0) return
    const children = await this.#ports.opencode.children(id)
    for (const child of children) sessionUpdated(this.#rooms, child)
    const left = new Set(children.map((child) => child.id))
    for (const { sessionID } of known) if (!left.has(sessionID)) sessionDeleted(this.#rooms, sessionID)
  }
}

/** Passes the newest messages of a parent to its gate, as the events since the newest message of a person would. */
function observeHistory(gate: QuietGate, messages: readonly StoredMessage[], isBusy: boolean): void {
  // Events since the gap show a later turn.
  const isCurrent = gate.turn === 'busy' || gate.turn === 'retrying' || gate.turn === 'idle'
  const index = messages.findLastIndex(({ info, parts }) => info.role === 'user' && parts.some(isPersonal))
  const asked = messages[index]?.info
  if (asked) gate.personStored({ id: asked.id, createdAt: asked.time.created })
  const newest = messages.at(-1)?.info
  if (newest && wasCutOff(newest) && !isBusy && !isCurrent) gate.observeError('MessageAbortedError')
  else for (const { info } of messages.slice(Math.max(index, 0))) gate.observeMessage(info)
  if (!isBusy) gate.observeGap()
}

/**
 * Whether the turn of an idle session has ended without an answer or an error: it was aborted before a retry (contract 6.4),
 * or OpenCode has stopped (contract 9.5).
 */
function wasCutOff(info: Message): boolean {
  return info.role === 'assistant' && info.finish === undefined && !info.error && !info.summary
}
