/**
 * Queries OpenCode after missed events, and passes the answers to the rooms. A status poll makes them check agents, permission
 * requests, deliveries and tool calls. Each parent's session is read before its next notice.
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

  constructor(rooms: MissingRooms, ports: Ports) {
    this.#rooms = rooms
    this.#ports = ports
  }

  /** Observes that events are missed until the next `observeGap`, though OpenCode may answer calls. */
  observeBreak(): void {
    const { agents, parents } = this.#rooms
    agents.observeGap()
    for (const { gate } of parents.all()) gate.observeGap()
  }

  /** Observes that events may have been missed, and that they arrive again from now on. */
  observeGap(): void {
    const { agents, catalogue, permissions, statuses } = this.#rooms
    const parents = [...this.#rooms.parents.all()]
    // Synchronously, because the next event does not continue from the last one.
    for (const room of [agents, catalogue, permissions]) room.observeGap()
    for (const parent of parents) parent.observeGap()
    statuses.pollNow()
    const left = parents.values()
    for (let reader = 0; reader < AT_ONCE; reader += 1) void this.#readAll(left)
  }

  /** Reads parents; several calls share one iterator. */
  async #readAll(parents: Iterable<Parent>): Promise<void> {
    for (const parent of parents) await this.#read(parent)
  }

  /** Never rejects: a parent that cannot be read now is read before its next notice. */
  async #read(parent: Parent): Promise<void> {
    try {
      await parent.catchUp()
      await this.#readChildren(parent)
    } catch (error) {
      this.#ports.log.warn(`could not read what ${parent.id} did without events: ${errorText(error)}`)
    }
  }

  /**
   * Reads a parent's messages and session, and passes them to its gate and its outbox. Rejects with a `HostError`.
   *
   * @param isConnected false: a `notFound` may be the answer of a proxy whose server is away
   */
  async readParent({ id, gate, outbox }: Parent, isConnected: boolean): Promise<void> {
    const { opencode } = this.#ports
    try {
      const wasBusy = id in (await opencode.statuses())
      const known = outbox.storedIDs
      const messages = await readBack(opencode, id, (newest) =>
        known.every((messageID) => newest.some(({ info }) => info.id === messageID)),
      )
      // Read before and after the messages, so that a turn that begins or ends meanwhile is seen.
      const isBusy = wasBusy || id in (await opencode.statuses())
      // Before the gate: an open gate sends messages again, which may have been answered already.
      outbox.observeHistory(messages, known)
      observeHistory(gate, messages, isBusy)
      await gate.refresh()
    } catch (error) {
      const { message, reason } = error as HostError
      if (reason !== 'notFound') throw error
      if (!isConnected) throw new HostError('noAnswer', message)
      gate.observeDeleted()
    }
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
