/**
 * Writes the records of tasks: in the call that creates the child session, after each event that `RECORDED` names, and
 * when work has begun outside of OpenCode's sessions.
 */
import type { Log } from '../host/log.ts'
import {
  errorText,
  HostError,
  type Message,
  type Opencode,
  type PermissionRuleset,
  type Session,
  type StoredMessage,
} from '../host/opencode.ts'
import { readBack } from '../host/read-back.ts'
import { traitsOf } from '../work/kinds.ts'
import { ToolError } from '../tool-error.ts'
import type { Owner } from './owner.ts'
import { RECORD_KEY, recordOf } from './record.ts'
import { readRequest, REQUEST_KEY } from './request.ts'
import type { Step } from './step.ts'
import type { StoreEvent, TaskStore } from './store.ts'
import { isEnded, type AgentTask, type Draft, type EndedTask, type Task } from './task.ts'

/**
 * Whether the record is written after an event. `added` is recorded by the call that creates the session, and a start or a
 * permission request is known from OpenCode's own statuses and requests.
 */
const RECORDED: Readonly<Record<StoreEvent['type'], boolean>> = {
  added: false,
  slotTaken: false,
  prompted: false,
  appended: true,
  released: true,
  steered: true,
  outputMatched: true,
  monitored: true,
  listening: true,
  placed: true,
  contactLost: true,
  contactFound: true,
  permissionAsked: false,
  permissionUnanswered: false,
  permissionReplied: false,
  ended: true,
  treeRemoved: true,
  continued: true,
}

/** Whether a recovery would find the same end in the messages of the agent, or in the files of the command. */
function isProvedElsewhere(task: Task): boolean {
  if (task.status === 'completed') return true
  return task.status === 'failed' && ['error', 'empty', 'exit'].includes(task.failure.reason)
}

/**
 * Whether the event changes facts that only the record shows, such as the begin of a worktree of an agent.
 *
 * @param sessionHasMinutes whether the session of the task has a budget of minutes
 */
function isRecordedFor(task: Task, { type }: StoreEvent, sessionHasMinutes: boolean): boolean {
  const { worktree, budget, place } = { worktree: undefined, budget: undefined, place: undefined, ...task }
  // The record alone tells the time at work from the waits.
  const hasTimeBudget = sessionHasMinutes || budget?.minutes !== undefined
  if (type === 'slotTaken') return worktree !== undefined || hasTimeBudget
  if (type === 'permissionAsked' || type === 'permissionReplied') return hasTimeBudget
  return type === 'prompted' && (place?.type === 'machine' || !traitsOf(task).runsInSession)
}

/** Returns the metadata without the record, because each write creates the record anew. */
function withoutRecord(metadata: Session['metadata']): { readonly [key: string]: unknown } {
  const { [RECORD_KEY]: _, ...beside } = metadata ?? {}
  return beside
}

/**
 * Drops an unanswered request when metadata is rewritten, because the owner already handles it. Written again
 * it would arrive as a new request, overwrite its answer or the next request, or act after a crash.
 */
function withoutOpenRequest(metadata: { readonly [key: string]: unknown }): typeof metadata {
  const request = readRequest(metadata)
  if (!request || request.answer) return metadata
  const { [REQUEST_KEY]: _, ...rest } = metadata
  return rest
}

interface Ports {
  readonly opencode: Opencode
  readonly log: Log
  readonly store: TaskStore
  /** The newest steps of a task are written with its record. */
  readonly timeline: { newest: (taskID: string) => readonly Step[] }
}

export class TaskRecords {
  readonly #ports: Ports
  readonly #owner: Owner
  readonly #sessionHasMinutes: boolean
  /** The records of ends that wait for their notices, by session. */
  readonly #pending = new Map<string, Promise<void>>()
  /** The newest write for each session: each write awaits the one before it. */
  readonly #writing = new Map<string, Promise<void>>()
  /** Other metadata of the sessions of unfinished tasks: each write repeats it, because it replaces the object. */
  readonly #metadata = new Map<string, { readonly [key: string]: unknown }>()

  /** @param sessionHasMinutes whether sessions have a budget of minutes, the option `budget.session.minutes` */
  constructor(ports: Ports, owner: Owner, sessionHasMinutes: boolean) {
    this.#ports = ports
    this.#owner = owner
    this.#sessionHasMinutes = sessionHasMinutes
  }

  /** @param sent resolves when the notice of an end was sent; the record of the end is written after that */
  observeTask(task: Task, event: StoreEvent, sent: () => Promise<void> | undefined): void {
    const after = event.type === 'ended' && isProvedElsewhere(task) ? sent() : undefined
    if (event.type !== 'ended' && isEnded(task) && RECORDED[event.type]) this.#rewrite(task)
    else if (after) this.#writeAfter(task, after)
    else if (RECORDED[event.type] || isRecordedFor(task, event, this.#sessionHasMinutes)) this.#write(task)
  }

  /** Creates the child session with the record in it. Rejects with a `HostError`. */
  async create<Kind extends Draft>(
    draft: Kind,
    permission: PermissionRuleset,
  ): Promise<Kind & { readonly sessionID: string; readonly status: 'pending' }> {
    const pending = { ...draft, status: 'pending' as const }
    const session = await this.#ports.opencode.createSession({
      parentID: draft.parentID,
      title: `${draft.description} (${traitsOf(draft).titleSuffix(draft)})`,
      permission,
      metadata: { [RECORD_KEY]: this.#recordOf({ ...pending, sessionID: '' }) },
    })
    this.#metadata.set(session.id, withoutRecord(session.metadata))
    return { ...pending, sessionID: session.id }
  }

  /** Records a task that this process adopts. */
  adopt(task: Task, { metadata }: Session): void {
    this.#metadata.set(task.sessionID, withoutRecord(metadata))
    this.#write(task)
  }

  /**
   * Prepares for the next run of a task, and resolves with whether the last run received its prompt. Rejects
   * with a `ToolError` where the child session is gone.
   */
  async revive(task: EndedTask & AgentTask): Promise<boolean> {
    const { id, sessionID, createdAt } = task
    const [promptID, ...steers] = task.promptIDs
    try {
      const { metadata } = await this.#ports.opencode.session(sessionID)
      this.#metadata.set(sessionID, withoutRecord(metadata))
      if (task.prompt === '') return true
      // A later message of the user may have undone the prompt, which must then not be sent again.
      const isSince = ({ role, time, id: messageID }: Message): boolean =>
        role === 'user' && time.created >= createdAt && !steers.includes(messageID)
      const hasPrompt = (messages: readonly StoredMessage[]): boolean =>
        messages.some(({ info }) => info.id === promptID || isSince(info))
      return hasPrompt(await readBack(this.#ports.opencode, sessionID, hasPrompt))
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'notFound') throw error
      throw new ToolError(`The session of ${id} was deleted. Start a new task.`, 'wrongState')
    }
  }

  /**
   * Writes fields beside the record, and the record anew, because a slow client that wrote its own field has
   * written an older record with it. Rejects with a `HostError`.
   */
  async mark(sessionID: string, fields: { readonly [key: string]: unknown }): Promise<void> {
    const { metadata } = await this.#ports.opencode.session(sessionID)
    const marked = { ...metadata, ...fields }
    // This write replaces the one that waits for a notice.
    if (this.#pending.delete(sessionID)) this.#metadata.delete(sessionID)
    if (this.#metadata.has(sessionID)) this.#metadata.set(sessionID, withoutRecord(marked))
    const task = this.#ports.store.findBySession(sessionID)
    if (task) this.#queue(task, marked)
    else await this.#ports.opencode.replaceMetadata(sessionID, marked)
    await this.written(sessionID)
  }

  /** Writes the end of a task whose owner is gone; it stays that of `owner`. Rejects with a `HostError`. */
  async recordEnd(task: Task, { metadata }: Session, owner: Owner): Promise<void> {
    const beside = withoutOpenRequest(metadata ?? {})
    await this.#ports.opencode.replaceMetadata(task.sessionID, {
      ...beside,
      [RECORD_KEY]: this.#recordOf(task, owner),
    })
  }

  observeSession({ id, metadata }: Session): void {
    if (metadata && this.#metadata.has(id)) this.#metadata.set(id, withoutRecord(metadata))
  }

  /** Resolves when each queued write for a session has succeeded or failed. */
  async written(sessionID: string): Promise<void> {
    await this.#writing.get(sessionID)
  }

  /** Resolves when each queued write for any session has succeeded or failed. */
  async flush(): Promise<void> {
    await Promise.all(this.#pending.values())
    await Promise.all(this.#writing.values())
  }

  #writeAfter(task: Task, after: Promise<void>): void {
    const { sessionID } = task
    const pending = after.then(() => {
      // A later event has recorded this end with itself.
      if (this.#pending.get(sessionID) === pending) this.#write(this.#ports.store.now(task))
      return undefined
    })
    this.#pending.set(sessionID, pending)
  }

  #write(task: Task): void {
    this.#pending.delete(task.sessionID)
    const beside = withoutOpenRequest(this.#metadata.get(task.sessionID) ?? {})
    if (isEnded(task)) this.#metadata.delete(task.sessionID)
    this.#queue(task, beside)
  }

  /** Rewrites the record of an ended task. Reads its other metadata first, because `#write` dropped it. */
  #rewrite({ id, sessionID }: Task): void {
    this.mark(sessionID, {}).catch((error: unknown) => {
      this.#ports.log.warn(`${id}: could not be recorded again: ${errorText(error)}`)
    })
  }

  /** @param beside the other metadata of the session */
  #queue(task: Task, beside: { readonly [key: string]: unknown }): void {
    const metadata = { ...beside, [RECORD_KEY]: this.#recordOf(task) }
    const before = this.#writing.get(task.sessionID)
    const write = this.#send(task, metadata, before).finally(() => {
      if (this.#writing.get(task.sessionID) === write) this.#writing.delete(task.sessionID)
    })
    this.#writing.set(task.sessionID, write)
  }

  async #send(
    task: Task,
    metadata: { readonly [key: string]: unknown },
    before?: Promise<void>,
  ): Promise<void> {
    if (before) await before
    try {
      await this.#ports.opencode.replaceMetadata(task.sessionID, metadata)
    } catch (error) {
      // A deleted session needs no record. Otherwise the end can still be read from its messages.
      if (error instanceof HostError && error.reason === 'notFound') return
      this.#ports.log.warn(`${task.id}: could not be recorded as ${task.status}: ${errorText(error)}`)
    }
  }

  #recordOf(task: Task, owner = this.#owner): object {
    return recordOf(task, owner, this.#ports.timeline.newest(task.id))
  }
}
