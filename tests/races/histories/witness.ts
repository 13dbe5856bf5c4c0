/** Observes the model requests from outside of the plugin: the reported ends, and the children at work. */
import type { StoredMessage } from '../../../src/host/opencode.ts'
import type { FakeHost } from '../../harness/fake-host.ts'
import type { FakeRequest } from '../../harness/fake-model.ts'
import type { ManualClock } from '../../harness/manual-clock.ts'
import type { ModelRequest, Reply } from '../../harness/script.ts'

/** A message that reported the end of a run (`key` is `id run`) to the parent's model. */
interface Telling {
  readonly key: string
  readonly messageID: string
  readonly request: FakeRequest
  answeredAt: number
  /** When the tools of the answer have ended at the latest; until then an abort stops the step. */
  toolsEndAt: number
}

/** Time from a model's answer to its final message; an abort within it makes that an aborted message. */
const ANSWER_FINAL_MS = 5
/** A notice in flight when a parent is closed arrives within this time. */
const ON_ITS_WAY_MS = 200

export class Witness {
  readonly #host: FakeHost
  readonly #clock: ManualClock
  readonly #tellings: Telling[] = []
  readonly #aborts: { readonly sessionID: string; readonly at: number }[] = []
  /** Children with turns that the plugin has not started. */
  readonly #foreign = new Set<string>()
  /** Time at which each closed parent was closed. */
  readonly #closed = new Map<string, number>()
  /** When the notices of the matching lines of each command were stored, by message. */
  readonly #monitorNotices = new Map<string, Map<string, number>>()
  #instanceEnds = 0
  /** Faults, recorded as soon as they occur. */
  readonly faults: string[] = []
  /** While set, the plugin may not know that a parent is closed. */
  isBlind = false

  constructor(
    host: FakeHost,
    clock: ManualClock,
    limits: { readonly total: number; readonly model: string },
  ) {
    this.#host = host
    this.#clock = clock
    const { script } = host
    host.script = async (request) => {
      if (request.parentSessionID === undefined) return this.#parentAsks(request, script)
      this.#checkLimits(limits)
      return script(request)
    }
  }

  /** Records that the user aborts a session. */
  aborted(sessionID: string): void {
    this.#aborts.push({ sessionID, at: this.#clock.now() })
  }

  isForeign(sessionID: string): boolean {
    return this.#foreign.has(sessionID)
  }

  typedIn(sessionID: string): void {
    this.#foreign.add(sessionID)
  }

  closed(parentID: string): void {
    if (!this.#closed.has(parentID)) this.#closed.set(parentID, this.#clock.now())
  }

  opened(parentID: string): void {
    this.#closed.delete(parentID)
  }

  instanceEnded(): void {
    this.#instanceEnds += 1
  }

  /** Returns the runs whose end the parent's model has read, with the messages that contained it. */
  told(): Map<string, Set<string>> {
    const told = new Map<string, Set<string>>()
    for (const { key, messageID, request, answeredAt, toolsEndAt } of this.#tellings) {
      if (request.outcome !== 'answered') continue
      const { sessionID } = request
      const finalAt = Math.max(answeredAt + ANSWER_FINAL_MS, toolsEndAt)
      const isAborted = this.#aborts.some(
        (abort) => abort.sessionID === sessionID && abort.at >= answeredAt && abort.at <= finalAt,
      )
      if (isAborted) continue
      told.set(key, (told.get(key) ?? new Set()).add(messageID))
    }
    return told
  }

  /** Returns the commands of which two notices of matching lines came within `gapMs`. */
  reportedTooSoon(gapMs: number): string[] {
    const wrong = [...this.#monitorNotices].flatMap(([taskID, times]) => {
      const sorted = [...times.values()].toSorted((one, other) => one - other)
      return sorted.some(
        (time, index) => index > 0 && time - (sorted[index - 1] ?? 0) < gapMs - ON_ITS_WAY_MS,
      )
        ? [`${taskID} reports its lines twice within ${gapMs} ms`]
        : []
    })
    return wrong
  }

  /**
   * Returns the ends that were reported more than once. An instance may repeat a notice that was read, undone and
   * so removed, if it cannot know that: a later instance, or one that has missed the event.
   */
  toldTwice(): string[] {
    return [...this.told()].flatMap(([key, messageIDs]) => {
      const stored = [...messageIDs].filter((id) => this.#isStored(id))
      const isExcused = stored.length <= 1 && (this.#instanceEnds > 0 || this.isBlind)
      return messageIDs.size > 1 && !isExcused ? [key] : []
    })
  }

  #isStored(messageID: string): boolean {
    return this.#tellings.some(({ messageID: id, request: { sessionID } }) => {
      if (id !== messageID || !exists(this.#host, sessionID)) return false
      return this.#host.messagesOf(sessionID).some(({ info }) => info.id === messageID)
    })
  }

  async #parentAsks(
    request: ModelRequest,
    script: (request: ModelRequest) => Reply | Promise<Reply>,
  ): Promise<Reply> {
    const { sessionID } = request
    const logged = this.#host.modelRequests.at(-1)
    if (!logged) throw new Error('The request is not in the log.')
    const stored = this.#host.messagesOf(sessionID)
    const seen = stored.flatMap((message) =>
      keysIn(message).map((key) => ({
        key,
        messageID: message.info.id,
        request: logged,
        answeredAt: 0,
        toolsEndAt: 0,
      })),
    )
    for (const message of stored)
      for (const id of monitorsIn(message)) {
        const times = this.#monitorNotices.get(id) ?? new Map<string, number>()
        this.#monitorNotices.set(id, times.set(message.info.id, message.info.time.created))
      }
    const now = this.#clock.now()
    for (const telling of this.#tellings)
      if (telling.request.sessionID === sessionID) telling.toolsEndAt = Math.min(telling.toolsEndAt, now)
    const twice = seen.filter(({ key }, index) => seen.findIndex((other) => other.key === key) !== index)
    for (const { key } of twice) this.faults.push(`${key} stands twice in ${sessionID}`)
    this.#tellings.push(...seen)
    this.#checkClosed(stored, sessionID)
    const reply = await script(request)
    // A failed turn cannot be aborted any more.
    if (reply.status === undefined)
      for (const telling of seen) {
        telling.answeredAt = this.#clock.now()
        // OpenCode completes the message of a step when its tools have ended, and asks the model again.
        if (reply.tools) telling.toolsEndAt = Infinity
      }
    return reply
  }

  /** Records a fault if only a notice has started a turn of a closed parent. */
  #checkClosed(stored: readonly StoredMessage[], sessionID: string): void {
    const since = this.#closed.get(sessionID)
    const newest = stored.findLast(({ info }) => info.role === 'user')
    if (since === undefined || !newest || this.isBlind) return
    const isOurs = newest.parts.every((part) => part.type === 'text' && part.synthetic === true)
    if (isOurs && newest.info.time.created > since + ON_ITS_WAY_MS)
      this.faults.push(`${sessionID} was woken although it is closed`)
  }

  #checkLimits({ total, model }: { readonly total: number; readonly model: string }): void {
    const open = this.#host.modelRequests.filter(
      ({ sessionID, parentSessionID, outcome }) =>
        parentSessionID !== undefined && outcome === 'open' && this.#host.isBusy(sessionID),
    )
    const own = open.filter(({ sessionID }) => !this.#foreign.has(sessionID))
    const count = (requests: readonly FakeRequest[]): number =>
      new Set(requests.map(({ sessionID }) => sessionID)).size
    if (count(own) > total) this.faults.push(`${count(own)} children at work`)
    const onModel = count(own.filter((request) => request.model === model))
    if (onModel > 1) this.faults.push(`${onModel} children at work on ${model}`)
  }
}

/** Returns the runs, as `id run`, whose end a message reports, and the matching lines, as `id line number`. */
function keysIn({ parts }: StoredMessage): string[] {
  return parts.flatMap((part) => {
    if (part.type !== 'text' || part.synthetic !== true) return []
    const [, id, run] = /^\s*<background_task id="(\w+)" run="(\d+)"/.exec(part.text) ?? []
    return id === undefined ? keysOfCommand(part.text) : [`${id} ${run}`]
  })
}

/** A notice of a command: its id and its status. */
const OF_COMMAND = /^\s*<background_task id="(\w+)" kind="command" status="(\w+)"/
/** How many lines of a command a notice reports, and how many have matched so far; and the lines themselves, in part. */
const OF_MATCHES =
  /^(?:Matching lines: (\d+)(?:, (\d+) so far)?|\[Matching lines that no notice has: (\d+) of (\d+)\])$/m

/** A command has one run. The lines of a notice are the newest of all so far, because each notice goes on from the one before. */
function keysOfCommand(text: string): string[] {
  const [, id = '', status] = OF_COMMAND.exec(text) ?? []
  if (status === undefined) return []
  const found = OF_MATCHES.exec(text)
  const [, count, soFar = count, restCount = count, all = soFar] = found ?? []
  const first = Number(all) - Number(restCount) + 1
  const lines = found
    ? Array.from({ length: Number(restCount) }, (_, index) => lineKey(id, first + index))
    : []
  return status === 'running' ? lines : [`${id} 1`, ...lines]
}

/** The key of a matching line, of which a command prints the first as `FAIL 1`. */
export function lineKey(taskID: string, line: number): string {
  return `${taskID} line ${line}`
}

/** Returns the ids of the commands whose matching lines a message reports before their end. */
function monitorsIn({ parts }: StoredMessage): string[] {
  return parts.flatMap((part) => {
    const [, id = '', status] = (part.type === 'text' && OF_COMMAND.exec(part.text)) || []
    return status === 'running' ? [id] : []
  })
}

export function exists(host: FakeHost, sessionID: string): boolean {
  try {
    host.session(sessionID)
    return true
  } catch {
    return false
  }
}
