/** What the contract suite needs of a host, be it the real binary or the fake. */
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
  /** Everything since the start, the oldest first. */
  readonly events: readonly Event[]
  readonly modelRequests: readonly (ModelRequest & { readonly outcome: 'open' | 'answered' | 'closed' })[]
  setScript(script: Script): void
  createRootSession(): Promise<Session>
  userPrompt(sessionID: string, text: string): Promise<void>
  userAbort(sessionID: string): Promise<void>
  /** Undoes a message and all after it, as /undo does. */
  userRevert(sessionID: string, messageID: string): Promise<void>
  deleteSession(sessionID: string): Promise<void>
  /** Resolves when the predicate holds; rejects, naming `description`, when it does not within a generous time. */
  waitUntil(predicate: () => boolean | Promise<boolean>, description: string): Promise<void>
  /** Resolves when whatever could still follow from what was done has had time to happen. */
  settle(): Promise<void>
  close(): Promise<void>
}

/** The events of which the type says it all. */
const WORDS: ReadonlySet<string> = new Set(['session.idle', 'session.deleted', 'session.compacted'])

/** One session of a host: what it was told, what its model was asked, and what it holds. */
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

  /** Sends a message with ids of our own; without parts one that says the name. */
  prompt(name: string, changes: Partial<Prompt> = {}): Promise<void> {
    const { messageID = this.messageID(name), ...rest } = changes
    return this.#host.opencode.prompt(this.id, {
      messageID,
      agent: 'build',
      parts: [this.part(name)],
      ...rest,
    })
  }

  /** Prompts, and resolves at the next idle, which ends a turn that goes well. */
  async turn(name: string, changes: Partial<Prompt> = {}): Promise<void> {
    const count = this.idleCount + 1
    await this.prompt(name, changes)
    await this.idleTimes(count)
  }

  /** Prompts, and resolves when the model is asked. */
  async asked(name: string): Promise<void> {
    const count = this.requests.length + 1
    await this.prompt(name)
    await this.askedTimes(count)
  }

  /** As `asked`; the model answers when the case says what, and `ok` from then on. */
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
   * In the host's form and order (contract 4.17), each made when it is first asked for: OpenCode 1.18.14 and older end
   * a turn only upon an answer with a higher id than the newest message of the user's.
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

  /** The assistant's messages. */
  async answers() {
    return (await this.messages()).flatMap(({ info, parts }) =>
      info.role === 'assistant' ? [{ ...info, parts }] : [],
    )
  }

  /** What each of the assistant's messages answers: a name as it was prompted, else the id of the message. */
  async answeredTo(): Promise<string[]> {
    const names = new Map([...this.#messageIDs].map(([name, id]) => [id, name]))
    return (await this.answers()).map(({ parentID }) => names.get(parentID) ?? parentID)
  }

  /** The states of all tool calls. */
  async toolStates(): Promise<string[]> {
    const parts = (await this.messages()).flatMap((message) => message.parts)
    return parts.flatMap((part) => (part.type === 'tool' ? [part.state.status] : []))
  }

  get requests() {
    return this.#host.modelRequests.filter((request) => request.sessionID === this.id)
  }

  /** The conversation of the nth request, as `role: content`, without what the host says about itself. */
  conversation(index: number): string[] {
    const messages = this.requests[index]?.messages ?? []
    return messages.filter(({ role }) => role !== 'system').map(({ role, content }) => `${role}: ${content}`)
  }

  get events(): readonly Event[] {
    return this.#host.events.filter(
      ({ properties }) => 'sessionID' in properties && properties.sessionID === this.id,
    )
  }

  /** The events that a plugin acts on, as words: `busy`, `idle`, `session.idle`, `error NAME`, `final NAME`… */
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

  /** How tool calls have ended, as events told it: message, call, status. A state that is told again counts once. */
  get toldCalls(): string[] {
    const parts = this.events.flatMap((event) =>
      event.type === 'message.part.updated' ? [event.properties.part] : [],
    )
    return [...new Set(parts.flatMap(endOfCall))]
  }

  /** The same, as it is stored. */
  async storedCalls(): Promise<string[]> {
    return (await this.messages()).flatMap(({ parts }) => parts).flatMap(endOfCall)
  }

  /** How often the session said that it is idle. */
  get idleCount(): number {
    return this.story.filter((word) => word === 'session.idle').length
  }

  askedTimes(count: number): Promise<void> {
    return this.#host.waitUntil(() => this.requests.length >= count, `model request ${count} of ${this.id}`)
  }

  idleTimes(count: number): Promise<void> {
    return this.#host.waitUntil(() => this.idleCount >= count, `idle ${count} of ${this.id}`)
  }

  /** Resolves when the message that was prompted under a name is in the history, some time after the prompt. */
  stored(name: string): Promise<void> {
    const id = this.messageID(name)
    const isStored = async (): Promise<boolean> => (await this.messages()).some(({ info }) => info.id === id)
    return this.#host.waitUntil(isStored, `the message "${name}" in ${this.id}`)
  }

  /** Resolves when the story has come to a word. */
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

/** A session of a root of its own, which is what a background task runs in. */
export async function newChild(host: HostUnderTest, changes: Partial<NewSession> = {}): Promise<Observed> {
  const parentID = changes.parentID ?? (await host.createRootSession()).id
  const defaults = { title: 'A child', permission: [], metadata: {} }
  const session = await host.opencode.createSession({ ...defaults, ...changes, parentID })
  return new Observed(host, session)
}

/** How the story of a run ends that failed or was aborted: its message is final only after the first idle (1.5). */
export function endsTwice(error: string): string[] {
  const idle = ['idle', 'session.idle']
  return [`error ${error}`, ...idle, `final ${error}`, ...idle]
}
