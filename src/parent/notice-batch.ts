/**
 * Stores the unsent notices of one parent. It debounces them, so that a burst costs one turn, and retains
 * them while the parent may not be woken. The user's next message then carries them, unless the gate opens
 * first.
 */
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import type { TextPart } from '../host/opencode.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { messageID, partID } from '../task/id.ts'
import { isOpenEnded, type Task } from '../task/task.ts'
import type { NoticeMessage } from './delivery.ts'
import { isEndNotice, noticedAt, noticeKey, piggybackKey, sentKey, type Notice } from './notice.ts'
import { closingText, LEAD, noticeTexts } from './notice-text.ts'
import type { ParentTasks } from './parent-tasks.ts'

export interface NotifyOptions extends Readonly<Options['notify']> {
  /** The tool that reads more of a task, which a notice names; `undefined` for none. */
  readonly readTool: string | undefined
  /** The tool that sends a prompt to a task, which a notice names; `undefined` for none. */
  readonly sendTool: string | undefined
  /** Whether tasks that a restart has cut off are continued, except those cut off too often. */
  readonly continues: boolean
}

/**
 * Longest delay in debounces, because OpenCode ends turns one after another: ten children whose models answer
 * within 200 ms end over 700 ms, with up to 110 ms between two of them (seen).
 */
const LONGEST_DEBOUNCES = 10
/** The next end may be this many times as late as the last one was after the one before. */
const SPACINGS = 1.5
/** Added to the time in a part's id: the notice sorts after any text that the user sends within 30 days. */
const BEHIND_USER_MS = 30 * 24 * 3_600_000

const REMINDER = `${LEAD} Read the notices above, in the message without an answer.]`

interface Ports {
  readonly clock: Clock
  readonly tasks: ParentTasks
  /** Whether a task has given its last answer, so that its end follows. */
  readonly isFinishing: (task: Task) => boolean
  /** Returns the bytes of sent notices that the parent has not read. */
  readonly unreadBytes: () => number
  /** Returns a notice as it is to be sent now; `undefined` if there is nothing to send any more. */
  readonly taken: (notice: Notice) => Notice | undefined
  readonly send: (message: NoticeMessage, notices: readonly Notice[]) => void
}

export class NoticeBatch {
  readonly #ports: Ports
  readonly #parentID: string
  readonly #options: NotifyOptions
  /** By their keys, in the order of their arrival. */
  #unsent = new Map<string, Notice>()
  /** When the last two notices came, on the monotonic clock. */
  #lastPuts: readonly number[] = []
  /** The running debounce; `undefined` while nothing is about to be sent. */
  #moment: { readonly since: number; readonly cancel: () => void } | undefined

  constructor(ports: Ports, parentID: string, options: NotifyOptions) {
    this.#ports = ports
    this.#parentID = parentID
    this.#options = options
  }

  /** Whether a debounce is running, after which the notices are sent. */
  get isSending(): boolean {
    return this.#moment !== undefined
  }

  /** Adds a notice, and schedules its message. */
  put(notice: Notice): void {
    this.#unsent.set(noticeKey(notice), notice)
    this.#lastPuts = [...this.#lastPuts.slice(-1), this.#ports.clock.monotonic()]
    const { task } = notice
    // The end that a follower waited for is observed next, and belongs into the same message.
    const waits = task.status === 'failed' && task.failure.reason === 'dependency'
    // A notice about an unfinished task is useful only while the task runs.
    this.sendSoon({ waits, wakes: !isEndNotice(notice) })
  }

  /** Adds notices without sending them: they wait for the user's next message or for the gate to open. */
  keep(notices: readonly Notice[]): void {
    this.#unsent = new Map([
      ...notices.map((notice) => [noticeKey(notice), notice] as const),
      ...this.#unsent,
    ])
  }

  has(key: string): boolean {
    return this.#unsent.has(key)
  }

  /** Removes a notice unsent; `undefined` if the batch does not hold it. */
  remove(key: string): Notice | undefined {
    const notice = this.#unsent.get(key)
    this.#unsent.delete(key)
    if (this.#unsent.size === 0) this.stop()
    return notice
  }

  /**
   * Sends the notices: at once if no task of the parent is active, otherwise after the debounce.
   *
   * @param waits whether to debounce in any case, because the user is about to write
   * @param wakes whether to send before the last task ends, even if the option `wake` is `all`
   */
  sendSoon({ waits = false, wakes = false } = {}): void {
    if (this.#unsent.size === 0 || !this.#mayWake(wakes)) return
    const since = this.#moment?.since ?? this.#ports.clock.monotonic()
    this.stop()
    if (!waits && this.#ports.tasks.activeCount === 0) {
      this.#flush()
      return
    }
    const left = since + this.#longestMs - this.#ports.clock.monotonic()
    const cancel = this.#ports.clock.after(Math.min(this.#debounceMs(), left), () => this.#flush())
    this.#moment = { since, cancel }
  }

  get #longestMs(): number {
    return LONGEST_DEBOUNCES * this.#options.debounceMs
  }

  /**
   * Returns the debounce, which grows with the time between the last two notices. A slow host, as with a heavy plugin, ends
   * turns one after another, each up to a second after its last answer.
   */
  #debounceMs(): number {
    const { debounceMs } = this.#options
    if (this.#isAnyFinishing()) return this.#longestMs
    const spacingMs = this.#lastPuts.length < 2 ? 0 : (this.#lastPuts[1] ?? 0) - (this.#lastPuts[0] ?? 0)
    return spacingMs > this.#longestMs ? debounceMs : Math.max(debounceMs, Math.ceil(SPACINGS * spacingMs))
  }

  #isAnyFinishing(): boolean {
    for (const task of this.#ports.tasks.active()) if (this.#ports.isFinishing(task)) return true
    return false
  }

  /**
   * Sends a line that wakes the parent for notices that it has stored and that no turn has read. Returns
   * false if the option `wake` makes them wait.
   */
  remind(notices: readonly Notice[]): boolean {
    const [first] = notices
    if (!first || !this.#mayWake(!notices.every(isEndNotice))) return false
    const [at, key] = [this.#ports.clock.now(), `${sentKey(first)} unheard`]
    const part = { id: partID(key, at), text: REMINDER, synthetic: true }
    this.#ports.send({ parentID: this.#parentID, messageID: messageID(key, at), parts: [part] }, notices)
    return true
  }

  /** @param wakes whether to send before the last task ends, even if the option `wake` is `all` */
  #mayWake(wakes: boolean): boolean {
    const { wake } = this.#options
    return wake !== 'never' && (wake !== 'all' || wakes || !this.#isAnyToEnd())
  }

  /**
   * Whether an unfinished task will end by itself. A server, a command without a time limit, will not; nor will a follower, whose
   * dependency may have asked the parent.
   */
  #isAnyToEnd(): boolean {
    for (const task of this.#ports.tasks.unfinished())
      if (!isOpenEnded(task) && dependenciesOf(task).length === 0) return true
    return false
  }

  /** Removes all notices, and returns them with their parts for a message that the user is sending. */
  take(): { readonly notices: readonly Notice[]; readonly parts: readonly TextPart[] } {
    const notices = this.#taken()
    // The parts sort after the user's text. Their ids differ from those of a sent message, because OpenCode
    // adds a part with a stored id to the message that has it (contract 4.18).
    const parts = this.#parts(notices, (key, at) => ({
      key: piggybackKey(key),
      at: at + BEHIND_USER_MS,
    }))
    return { notices, parts: parts.map((part) => ({ ...part, text: `\n\n${part.text}` })) }
  }

  /** Cancels the debounce. */
  stop(): void {
    this.#moment?.cancel()
    this.#moment = undefined
  }

  /** Sends all notices as one message. */
  #flush(): void {
    const notices = this.#taken()
    const [first] = notices
    if (!first) return
    const parts = this.#parts(notices, (key, at) => ({ key, at }))
    // Until 1.18.14, OpenCode ignores a message whose id is below that of an answer (contract 15.10).
    const id = messageID(sentKey(first), this.#ports.clock.now())
    this.#ports.send({ parentID: this.#parentID, messageID: id, parts }, notices)
  }

  /** Returns a part for each notice and a closing part. OpenCode orders parts by the times in their ids. */
  #parts(
    notices: readonly Notice[],
    place: (key: string, at: number) => { key: string; at: number },
  ): readonly TextPart[] {
    const [first] = notices
    if (!first) return []
    const part = (noticed: string, happenedAt: number, text: string): TextPart => {
      const { key, at } = place(noticed, happenedAt)
      return { id: partID(key, at), text, synthetic: true }
    }
    const { inlineResultBytes, readTool } = this.#options
    const now = (task: Task): Task => this.#ports.tasks.now(task)
    const texts = noticeTexts(notices, inlineResultBytes, this.#ports.unreadBytes(), {
      ...this.#options,
      now,
    })
    const parts = notices.map((notice, index) =>
      part(sentKey(notice), noticedAt(notice), texts[index] as string),
    )
    const last = Math.max(...notices.map(noticedAt)) + 1
    const { unfinishedIDs, used } = this.#ports.tasks
    const closing = closingText(notices, unfinishedIDs, used, readTool)
    return [...parts, part(`${sentKey(first)} closing`, last, closing)]
  }

  /** Removes all notices, and returns them as they are to be sent now. */
  #taken(): readonly Notice[] {
    return this.empty().flatMap((notice) => this.#ports.taken(notice) ?? [])
  }

  /** Removes and returns all notices. */
  empty(): readonly Notice[] {
    this.stop()
    const notices = [...this.#unsent.values()]
    this.#unsent.clear()
    return notices
  }
}
