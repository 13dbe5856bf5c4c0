/**
 * Tracks tool calls that read the end of a task for its parent. The parent's model sees the result of a call
 * only if OpenCode stores the call as completed: only then has it read the end.
 *
 *   waiting → read → over (stored)
 *      └────────┴──→ over (dropped)
 *
 * `waiting`: the call waits for the end, or is reading it. `read`: the call has the end, and returns it. A
 * call is dropped when it fails, is aborted, gives up before it has read, or is not stored when its session
 * is idle.
 */
import type { Clock } from '../clock.ts'
import { HostError, type Opencode, type Part, type Statuses, type StoredMessage } from '../host/opencode.ts'
import { readBack } from '../host/read-back.ts'
import type { Reader } from '../host/reader.ts'
import type { StatusPoll } from '../host/status-poll.ts'

export interface Reading {
  /** Whether the call has the end, and returns it. */
  readonly isRead: boolean
  /** Records that the call has the end. */
  readonly read: () => void
  /** Drops the call; without effect once it has read. */
  readonly giveUp: () => void
}

export interface ReadingPorts {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly statuses: StatusPoll
}

interface OpenReading {
  readonly reader: Reader
  /** Called once, when the reading is over. */
  readonly onOver: (end: 'stored' | 'dropped') => void
  /** When the call got the end, in milliseconds since the Unix epoch; `undefined` before. */
  readAt: number | undefined
}

type ToolPart = Extract<Part, { type: 'tool' }>

export class Readings {
  readonly #ports: ReadingPorts
  readonly #parentID: string
  readonly #open = new Set<OpenReading>()
  #stopPolling: (() => void) | undefined

  constructor(ports: ReadingPorts, parentID: string) {
    this.#ports = ports
    this.#parentID = parentID
  }

  begin(reader: Reader, onOver: (end: 'stored' | 'dropped') => void): Reading {
    const reading: OpenReading = { reader, onOver, readAt: undefined }
    this.#open.add(reading)
    this.#stopPolling ??= this.#ports.statuses.subscribe((statuses) => this.#observeStatuses(statuses))
    return {
      get isRead() {
        return reading.readAt !== undefined
      },
      read: () => {
        reading.readAt = this.#ports.clock.now()
      },
      giveUp: () => {
        if (reading.readAt === undefined) this.#over(reading, 'dropped')
      },
    }
  }

  /** Observes a created or changed part of a message of the parent. */
  observePart(part: Part): void {
    if (part.type !== 'tool') return
    const { status } = part.state
    if (status !== 'completed' && status !== 'error') return
    for (const reading of this.#open) {
      if (isOf(reading.reader, part)) this.#over(reading, status === 'completed' ? 'stored' : 'dropped')
    }
  }

  dispose(): void {
    this.#open.clear()
    this.#poll()
  }

  /** Checks all calls of an idle parent, because an idle parent runs no call and events may be lost. */
  #observeStatuses(statuses: Statuses): void {
    if (!(this.#parentID in statuses)) void this.#check([...this.#open])
  }

  async #check(readings: readonly OpenReading[]): Promise<void> {
    let stored: readonly ToolPart[] = []
    const isStoredIn = (calls: readonly ToolPart[], { reader, readAt }: OpenReading): boolean =>
      calls.some((call) => isOf(reader, call) && endedSince(call, readAt))
    try {
      stored = callsIn(
        await readBack(this.#ports.opencode, this.#parentID, (newest) =>
          readings.every((reading) => isStoredIn(callsIn(newest), reading)),
        ),
      )
    } catch (error) {
      // After `noAnswer`, the next poll retries. After any other error, no call counts as stored.
      if (error instanceof HostError && error.reason === 'noAnswer') return
    }
    for (const reading of readings) this.#over(reading, isStoredIn(stored, reading) ? 'stored' : 'dropped')
  }

  #over(reading: OpenReading, end: 'stored' | 'dropped'): void {
    if (!this.#open.delete(reading)) return
    this.#poll()
    reading.onOver(end)
  }

  #poll(): void {
    if (this.#open.size > 0) return
    this.#stopPolling?.()
    this.#stopPolling = undefined
  }
}

function callsIn(messages: readonly StoredMessage[]): ToolPart[] {
  return messages.flatMap(({ parts }) => parts).filter((part) => part.type === 'tool')
}

function isOf({ callID, messageID }: Reader, part: ToolPart): boolean {
  return part.callID === callID && (messageID === undefined || part.messageID === messageID)
}

/** A call that was completed before it had the end cannot have returned it. */
function endedSince({ state }: ToolPart, readAt: number | undefined): boolean {
  return state.status === 'completed' && readAt !== undefined && state.time.end >= readAt
}
