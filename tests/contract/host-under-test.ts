/** The host as the contract suite needs it: the real binary or the fake. */
import type {
  Event,
  NewSession,
  Opencode,
  Part,
  Prompt,
  Session,
  StoredMessage,
} from '../../src/host/opencode.ts'
import type { ModelRequest, Reply, Script } from '../harness/script.ts'
import { heldReply, inOrder } from '../harness/replies.ts'

export interface HostUnderTest {
  readonly opencode: Opencode
  /** All events since the start, oldest first. */
  readonly events: readonly Event[]
  readonly modelRequests: readonly (ModelRequest & { readonly outcome: 'open' | 'answered' | 'closed' })[]
  setScript(script: Script): void
  createRootSession(): Promise<Session>
  userPrompt(sessionID: string, text: string): Promise<void>
  userAbort(sessionID: string): Promise<void>
  /** Undoes a message and all later ones, as /undo does. */
  userRevert(sessionID: string, messageID: string): Promise<void>
  deleteSession(sessionID: string): Promise<void>
  /** Makes another checkout of the project; resolves with its directory. */
  otherCheckout(): Promise<string>
  /** Resolves when the predicate holds; after a generous time, rejects with `description`. */
  waitUntil(predicate: () => boolean | Promise<boolean>, description: string): Promise<void>
  /** Resolves when the host has had time for everything that could still follow. */
  settle(): Promise<void>
  close(): Promise<void>
}

/** The events whose type alone is their word. */
const WORDS: ReadonlySet<string> = new Set(['session.idle', 'session.deleted', 'session.compacted'])

/** Observes one session of a host: its events, its model requests, and its stored messages. */
export class Observed {
  readonly id: string
  readonly session: Session
  readonly #host: HostUnderTest
  readonly #messageIDs = new Map<string, string>()

  constructor(host: HostUnderTest, session: Session) {
    this.#host = host
    this.session = session
    this.id = session.id
  }

  /** Sends a message with ids of our own; its text is the name unless `changes` has parts. */
  prompt(name: string, changes: Partial<Prompt> = {}): Promise<void> {
    const { messageID = this.messageID(name), ...rest } = changes
    return this.#host.opencode.prompt(this.id, {
      messageID,
      agent: 'build',
      parts: [this.part(name)],
      ...rest,
    })
  }

  /** Prompts, and resolves at the next idle: the end of a turn without an error. */
  async turn(name: string, changes: Partial<Prompt> = {}): Promise<void> {
    const count = this.idleCount + 1
    await this.prompt(name, changes)
    await this.idleTimes(count)
  }

  /** Prompts, and resolves when the model receives the request. */
  async asked(name: string): Promise<void> {
    const count = this.requests.length + 1
    await this.prompt(name)
    await this.askedTimes(count)
  }

  /** As `asked`; the model answers when the case releases a reply, and `ok` from then on. */
  async held(name: string): Promise<(reply: Reply) => void> {
    const { reply, release } = heldReply()
    this.#host.setScript(inOrder(reply))
    await this.asked(name)
    return release
  }

  /** Prompts a busy session, and resolves when the message is in its history. */
  async queued(name: string): Promise<void> {
    await this.prompt(name)
    await this.stored(name)
  }

  /**
   * Returns the message id of a name, in the host's form (contract 4.17). Makes it on first use, so that ids ascend:
   * OpenCode 1.18.14 and older end a turn only upon an answer with a higher id than the newest user message.
   */
  messageID(name: string): string {
    const known = this.#messageIDs.get(name)
    if (known !== undefined) return known
    const time = BigInt.asUintN(48, BigInt(Date.now()) * 4096n + BigInt(this.#messageIDs.size))
    const id = `msg_${time.toString(16).padStart(12, '0')}${this.id.slice(-8)}${name}`
    this.#messageIDs.set(name, id)
    return id
  }

  part(name: string, text = name): Prompt['parts'][number] {
    return { id: `prt_${this.id.slice(4)}${name}`, text, synthetic: true }
  }

  abort(): Promise<void> {
    return this.#host.opencode.abort(this.id)
  }

  messages(): Promise<readonly StoredMessage[]> {
    return this.#host.opencode.messages(this.id)
  }

  /** Returns the assistant's messages. */
  async answers() {
    return (await this.messages()).flatMap(({ info, parts }) =>
      info.role === 'assistant' ? [{ ...info, parts }] : [],
    )
  }

  /** Returns which message each assistant message answers: the name it was prompted with, else its id. */
  async answeredTo(): Promise<string[]> {
    const names = new Map([...this.#messageIDs].map(([name, id]) => [id, name]))
    return (await this.answers()).map(({ parentID }) => names.get(parentID) ?? parentID)
  }

  /** Returns the states of all tool calls. */
  async toolStates(): Promise<string[]> {
    const parts = (await this.messages()).flatMap((message) => message.parts)
    return parts.flatMap((part) => (part.type === 'tool' ? [part.state.status] : []))
  }

  get requests() {
    return this.#host.modelRequests.filter((request) => request.sessionID === this.id)
  }

  /** Returns the conversation of the nth request as `role: content`, without the host's system prompt. */
  conversation(index: number): string[] {
    const messages = this.requests[index]?.messages ?? []
    return messages.filter(({ role }) => role !== 'system').map(({ role, content }) => `${role}: ${content}`)
  }

  get events(): readonly Event[] {
    return this.#host.events.filter(
      ({ properties }) => 'sessionID' in properties && properties.sessionID === this.id,
    )
  }

  /** Returns the events that a plugin acts on, as words: `busy`, `idle`, `session.idle`, `error NAME`, `final NAME`… */
  get story(): string[] {
    return this.events.flatMap((event) => {
      if (event.type === 'session.status') return [event.properties.status.type]
      if (WORDS.has(event.type)) return [event.type]
      if (event.type === 'session.error') return [`error ${event.properties.error?.name}`]
      if (event.type !== 'message.updated') return []
      const { info } = event.properties
      if (info.role !== 'assistant' || info.time.completed === undefined) return []
      return [`final ${info.error?.name ?? info.finish ?? 'without finish'}`]
    })
  }

  /** Returns the ends of tool calls from events: message, call, status. A repeated state counts once. */
  get toldCalls(): string[] {
    const parts = this.events.flatMap((event) =>
      event.type === 'message.part.updated' ? [event.properties.part] : [],
    )
    return [...new Set(parts.flatMap(endOfCall))]
  }

  /** Returns the stored tool calls in the format of `toldCalls`. */
  async storedCalls(): Promise<string[]> {
    return (await this.messages()).flatMap(({ parts }) => parts).flatMap(endOfCall)
  }

  /** Returns how often the session reported idle. */
  get idleCount(): number {
    return this.story.filter((word) => word === 'session.idle').length
  }

  askedTimes(count: number): Promise<void> {
    return this.#host.waitUntil(() => this.requests.length >= count, `model request ${count} of ${this.id}`)
  }

  idleTimes(count: number): Promise<void> {
    return this.#host.waitUntil(() => this.idleCount >= count, `idle ${count} of ${this.id}`)
  }

  /** Resolves when the message with this name is in the history, which is some time after the prompt. */
  stored(name: string): Promise<void> {
    const id = this.messageID(name)
    const isStored = async (): Promise<boolean> => (await this.messages()).some(({ info }) => info.id === id)
    return this.#host.waitUntil(isStored, `the message "${name}" in ${this.id}`)
  }

  /** Resolves when the story contains a word. */
  told(word: string): Promise<void> {
    return this.#host.waitUntil(() => this.story.includes(word), `"${word}" of ${this.id}`)
  }
}

function endOfCall(part: Part): string[] {
  if (part.type !== 'tool') return []
  const { messageID, callID, state } = part
  return state.status === 'completed' || state.status === 'error'
    ? [`${messageID} ${callID} ${state.status}`]
    : []
}

/** Creates a child of a new root session, as a background task has it. */
export async function newChild(host: HostUnderTest, changes: Partial<NewSession> = {}): Promise<Observed> {
  const parentID = changes.parentID ?? (await host.createRootSession()).id
  const defaults = { title: 'A child', permission: [], metadata: {} }
  const session = await host.opencode.createSession({ ...defaults, ...changes, parentID })
  return new Observed(host, session)
}

/** Returns the last words of a failed or aborted turn: its message is final only after the first idle (1.5). */
export function endsTwice(error: string): string[] {
  const idle = ['idle', 'session.idle']
  return [`error ${error}`, ...idle, `final ${error}`, ...idle]
}
