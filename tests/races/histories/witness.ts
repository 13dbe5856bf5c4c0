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

/** A notice of matching lines, as it stands in a message of the parent. */
interface MonitorNotice {
  /** When the message was stored. */
  readonly at: number
  /** The number of its first line. Each notice goes on from the one before, and has the same one however often it is sent. */
  readonly firstLine: number
  /** Its number, if it says that it is the last one before the end. */
  readonly last?: number
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
  /** The notices of the matching lines of each command, by message. */
  readonly #monitorNotices = new Map<string, Map<string, MonitorNotice>>()
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
    const wrong = [...this.#monitorNotices].flatMap(([taskID, notices]) => {
      const sorted = [...notices.values()].map(({ at }) => at).toSorted((one, other) => one - other)
      return sorted.some(
        (time, index) => index > 0 && time - (sorted[index - 1] ?? 0) < gapMs - ON_ITS_WAY_MS,
      )
        ? [`${taskID} reports its lines twice within ${gapMs} ms`]
        : []
    })
    return wrong
  }

  /** Returns the commands that reported lines in more than `most` notices, or did not say which one is the last. */
  reportedTooOften(most: number): string[] {
    return [...this.#monitorNotices].flatMap(([taskID, byMessage]) => {
      const notices = [...byMessage.values()]
      const firstLines = [...new Set(notices.map(({ firstLine }) => firstLine))].toSorted((a, b) => a - b)
      const lastLine = firstLines[most - 1]
      return [
        ...(firstLines.length > most ? [`${taskID} reports its lines in ${firstLines.length} notices`] : []),
        ...notices
          .filter(({ firstLine, last }) => last !== (firstLine === lastLine ? most : undefined))
          .map(
            ({ firstLine, last }) => `the notice of ${taskID} from line ${firstLine} on says last: ${last}`,
          ),
      ]
    })
  }

  /**
   * Returns the ends that were reported more than once. An instance may repeat a notice that was read, undone and
   * so removed, if it cannot know that: a later instance, or one that has missed the event.
   */
  toldTwice(): string[] {
    const repeated = [...this.told()].filter(([, messageIDs]) => messageIDs.size > 1)
    return repeated.flatMap(([key, messageIDs]) => {
      const stored = [...messageIDs].filter((id) => this.#isStored(id))
      const isExcused = stored.length <= 1 && (this.#instanceEnds > 0 || this.isBlind)
      return isExcused ? [] : [key]
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
      for (const [id, notice] of monitorNoticesIn(message)) {
        const notices = this.#monitorNotices.get(id) ?? new Map<string, MonitorNotice>()
        this.#monitorNotices.set(id, notices.set(message.info.id, notice))
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

/** A command has one run. */
function keysOfCommand(text: string): string[] {
  const [, id = '', status] = OF_COMMAND.exec(text) ?? []
  if (status === undefined) return []
  const { count, firstLine } = linesIn(text)
  const lines = Array.from({ length: count }, (_, index) => lineKey(id, firstLine + index))
  return status === 'running' ? lines : [`${id} 1`, ...lines]
}

/** Returns how many lines a notice reports, and the number of the first. They are the newest of all so far. */
function linesIn(text: string): { readonly count: number; readonly firstLine: number } {
  const [, count = '0', soFar = count, restCount = count, all = soFar] = OF_MATCHES.exec(text) ?? []
  return { count: Number(restCount), firstLine: Number(all) - Number(restCount) + 1 }
}

/** The key of a matching line, of which a command prints the first as `FAIL 1`. */
export function lineKey(taskID: string, line: number): string {
  return `${taskID} line ${line}`
}

/** Returns the notices of matching lines that a message reports before the end of their commands, by the ids of these. */
function monitorNoticesIn({ info, parts }: StoredMessage): [string, MonitorNotice][] {
  return parts.flatMap((part): [string, MonitorNotice][] => {
    if (part.type !== 'text') return []
    const [, id = '', status] = OF_COMMAND.exec(part.text) ?? []
    if (status !== 'running') return []
    const [, last] = /^This is notice (\d+) of it: the next one reports its end\.$/m.exec(part.text) ?? []
    const { firstLine } = linesIn(part.text)
    return [[id, { at: info.time.created, firstLine, ...(last !== undefined && { last: Number(last) }) }]]
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
