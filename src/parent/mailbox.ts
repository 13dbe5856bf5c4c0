/**
 * What one parent is owed and has not been sent: notices gather here for a short moment, so that a burst costs one
 * turn, and stay here while the parent may not be woken. Then they go on the user's next message, if nothing else
 * opens the way before.
 */
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import type { TextPart } from '../host/opencode.ts'
import { messageID, partID } from '../task/id.ts'
import { isOpenEnded } from '../task/task.ts'
import type { NoticeMessage } from './delivery.ts'
import {
  closingText,
  isEndNotice,
  noticedAt,
  noticeKey,
  noticeTexts,
  piggybackKey,
  type Notice,
} from './notice.ts'
import type { ParentTasks } from './parent-tasks.ts'

export interface NotifyOptions extends Readonly<Options['notify']> {
  /** The tool that reads more of a task, which a notice names; `undefined` for none. */
  readonly readTool: string | undefined
}

/**
 * The host ends turns one after another: ten children whose models answer within 200 ms end over 700 ms, with up to
 * 110 ms between two of them (seen).
 */
const LONGEST_DEBOUNCES = 10
/** Added to the time in an id, it sorts a notice behind what the user writes within the next 30 days. */
const BEHIND_USER_MS = 30 * 24 * 3_600_000

const REMINDER =
  '[Automatic notice, not from the user. It stands before this, with the message that nobody has answered.]'

export class Mailbox {
  readonly #parentID: string
  readonly #clock: Clock
  readonly #tasks: ParentTasks
  readonly #options: NotifyOptions
  readonly #send: (message: NoticeMessage, notices: readonly Notice[]) => void
  readonly #unreadBytes: () => number
  /** By their keys, in the order in which they came. */
  #unsent = new Map<string, Notice>()
  /** The moment in which more may come; `undefined` while nothing is to be sent. */
  #moment: { readonly since: number; readonly cancel: () => void } | undefined

  constructor(
    ports: {
      clock: Clock
      tasks: ParentTasks
      /** How much of what was sent stands before the parent unread. */
      unreadBytes: () => number
    },
    parentID: string,
    options: NotifyOptions,
    send: (message: NoticeMessage, notices: readonly Notice[]) => void,
  ) {
    this.#clock = ports.clock
    this.#tasks = ports.tasks
    this.#unreadBytes = ports.unreadBytes
    this.#parentID = parentID
    this.#options = options
    this.#send = send
  }

  /** Whether what is here leaves in a moment. */
  get isSending(): boolean {
    return this.#moment !== undefined
  }

  /** Takes a notice, and sends it when it is time. */
  put(notice: Notice): void {
    this.#unsent.set(noticeKey(notice), notice)
    // What is told of a task while it goes on is of use then.
    this.sendSoon({ wakes: !isEndNotice(notice) })
  }

  /** Takes back what could not be sent; it stays until the user writes or the way is open again. */
  keep(notices: readonly Notice[]): void {
    this.#unsent = new Map([
      ...notices.map((notice) => [noticeKey(notice), notice] as const),
      ...this.#unsent,
    ])
  }

  /** Takes a notice out, which is then not sent; `undefined` where it is not here. */
  remove(key: string): Notice | undefined {
    const notice = this.#unsent.get(key)
    this.#unsent.delete(key)
    if (this.#unsent.size === 0) this.stop()
    return notice
  }

  /**
   * Sends what is here: at once where no task of the parent's is at work, else after a moment.
   *
   * @param waits whether to wait that moment in any case, since the user is about to write
   * @param wakes whether not to wait for the last of the tasks, where the option `wake` says so
   */
  sendSoon({ waits = false, wakes = false } = {}): void {
    if (this.#unsent.size === 0 || !this.#mayWake(wakes)) return
    const since = this.#moment?.since ?? this.#clock.monotonic()
    this.stop()
    if (!waits && !this.#tasks.isAnyActive) {
      this.#flush()
      return
    }
    const { debounceMs } = this.#options
    const left = since + LONGEST_DEBOUNCES * debounceMs - this.#clock.monotonic()
    const cancel = this.#clock.after(Math.min(debounceMs, left), () => this.#flush())
    this.#moment = { since, cancel }
  }

  /**
   * Sends a line that wakes the parent for notices which are stored there and which no turn has read. False where the option
   * `wake` has them wait.
   */
  remind(notices: readonly Notice[]): boolean {
    const [first] = notices
    if (!first || !this.#mayWake(!notices.every(isEndNotice))) return false
    const [at, key] = [this.#clock.now(), `${noticeKey(first)} unheard`]
    const part = { id: partID(key, at), text: REMINDER, synthetic: true }
    this.#send({ parentID: this.#parentID, messageID: messageID(key, at), parts: [part] }, notices)
    return true
  }

  /** @param wakes whether not to wait for the last of the tasks, where the option `wake` says so */
  #mayWake(wakes: boolean): boolean {
    const { wake } = this.#options
    return wake !== 'never' && (wake !== 'all' || wakes || !this.#isAnyToEnd())
  }

  /** Whether a task is unfinished that will end by itself: a server, a command without a time limit, does not. */
  #isAnyToEnd(): boolean {
    for (const task of this.#tasks.unfinished()) if (!isOpenEnded(task)) return true
    return false
  }

  /** Empties the mailbox for a message that the user is just sending: its parts, and the notices in them. */
  take(): { readonly notices: readonly Notice[]; readonly parts: readonly TextPart[] } {
    const notices = this.empty()
    // They stand behind the user's words, and have ids of their own kind: a part of which the id is stored already
    // would go to the message that has it (contract 4.18).
    const parts = this.#parts(notices, (key, at) => ({
      key: piggybackKey(key),
      at: at + BEHIND_USER_MS,
    }))
    return { notices, parts: parts.map((part) => ({ ...part, text: `\n\n${part.text}` })) }
  }

  /** Sends nothing for now. */
  stop(): void {
    this.#moment?.cancel()
    this.#moment = undefined
  }

  /** Freezes what is here into one message. */
  #flush(): void {
    const notices = this.empty()
    const [first] = notices
    if (!first) return
    const parts = this.#parts(notices, (key, at) => ({ key, at }))
    // Until 1.18.14 the host does not answer a message whose id is older than that of an answer.
    const id = messageID(noticeKey(first), this.#clock.now())
    this.#send({ parentID: this.#parentID, messageID: id, parts }, notices)
  }

  /** A part for each notice and one that closes the message. The host orders parts by the times in their ids. */
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
    const texts = noticeTexts(notices, this.#options.inlineResultBytes, this.#unreadBytes())
    const parts = notices.map((notice, index) =>
      part(noticeKey(notice), noticedAt(notice), texts[index] as string),
    )
    const last = Math.max(...notices.map(noticedAt)) + 1
    const { unfinishedIDs, used } = this.#tasks
    const closing = closingText(notices, unfinishedIDs, used, this.#options.readTool)
    return [...parts, part(`${noticeKey(first)} closing`, last, closing)]
  }

  /** Takes all notices out. */
  empty(): readonly Notice[] {
    this.stop()
    const notices = [...this.#unsent.values()]
    this.#unsent.clear()
    return notices
  }
}
