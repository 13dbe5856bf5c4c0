/**
 * The durable record of a task: `metadata.background` of its child session, which the host keeps over a restart and
 * shows to every client. It is written when the session is created, in the same call, when a run has ended, and when
 * the next one is asked for; that it runs meanwhile is seen from the host's own status of the session.
 */
import { hostname } from 'node:os'
import type { Log } from '../log.ts'
import { errorText, HostError, type Event, type Opencode, type PermissionRuleset } from '../opencode.ts'
import type { TaskStore } from './store.ts'
import { ToolError } from '../tool-error.ts'
import { isEnded, type EndedTask, type Task, type TaskIdentity } from './task.ts'

/** The key of ours in a session's metadata. */
const RECORD_KEY = 'background'

/** The process that runs the task, so that another one can tell whether it is still there. */
export interface Owner {
  readonly host: string
  readonly pid: number
  /** When the process started, in milliseconds since the Unix epoch: a pid alone is used again. */
  readonly processStartedAt: number
  /** Random; each instance of the plugin has its own. */
  readonly instance: string
}

/** Version 1 of what stands under `RECORD_KEY`: the task as it was last written, and who runs it. */
export type Record = Omit<Task, 'sessionID'> & { readonly version: 1; readonly owner: Owner }

export function currentOwner(instance: string): Owner {
  const processStartedAt = Math.round(performance.timeOrigin)
  return { host: hostname(), pid: process.pid, processStartedAt, instance }
}

export class TaskRecords {
  readonly #opencode: Opencode
  readonly #log: Log
  readonly #store: TaskStore
  readonly #owner: Owner
  /** The newest write for each session: they must arrive in their order. */
  readonly #writing = new Map<string, Promise<void>>()
  /** What others keep in the metadata of the sessions of unfinished tasks: writing replaces the whole object. */
  readonly #metadata = new Map<string, { readonly [key: string]: unknown }>()

  constructor(ports: { opencode: Opencode; log: Log; store: TaskStore }, owner: Owner) {
    this.#opencode = ports.opencode
    this.#log = ports.log
    this.#store = ports.store
    this.#owner = owner
    this.#store.subscribe((task, event) => {
      if (event.type === 'ended' || event.type === 'continued') this.#write(task)
    })
  }

  /** Creates the child session with the record in it. Rejects with a `HostError`. */
  async create(identity: Omit<TaskIdentity, 'sessionID'>, permission: PermissionRuleset): Promise<Task> {
    const pending = { ...identity, status: 'pending' as const }
    const session = await this.#opencode.createSession({
      parentID: identity.parentID,
      // The host's clients take the agent's name from this form of title (TUI notes, section 2).
      title: `${identity.description} (@${identity.agent} subagent)`,
      permission,
      metadata: { [RECORD_KEY]: this.#recordOf({ ...pending, sessionID: '' }) },
    })
    this.#metadata.set(session.id, session.metadata ?? {})
    return { ...pending, sessionID: session.id }
  }

  /** Prepares for the next run of a task. Rejects with a `ToolError` where its session is gone. */
  async revive(task: EndedTask): Promise<void> {
    try {
      const { metadata } = await this.#opencode.session(task.sessionID)
      this.#metadata.set(task.sessionID, metadata ?? {})
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'notFound') throw error
      throw new ToolError(`The session of ${task.id} was deleted. Start a new task.`)
    }
  }

  handleEvent(event: Event): void {
    if (event.type !== 'session.updated') return
    const { id, metadata } = event.properties.info
    if (metadata && this.#metadata.has(id)) this.#metadata.set(id, metadata)
  }

  /** Resolves when what is to be written for a session has been tried. */
  async written(sessionID: string): Promise<void> {
    await this.#writing.get(sessionID)
  }

  /** The same for all sessions. */
  async flush(): Promise<void> {
    await Promise.all(this.#writing.values())
  }

  #write(task: Task): void {
    const metadata = { ...this.#metadata.get(task.sessionID), [RECORD_KEY]: this.#recordOf(task) }
    if (isEnded(task)) this.#metadata.delete(task.sessionID)
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
      await this.#opencode.replaceMetadata(task.sessionID, metadata)
    } catch (error) {
      // The end can still be read from the messages of the session; a deleted one needs no record.
      if (error instanceof HostError && error.reason === 'notFound') return
      this.#log.warn(`${task.id}: it could not be recorded as ${task.status}: ${errorText(error)}`)
    }
  }

  #recordOf({ sessionID: _, ...task }: Task): Record {
    return { ...task, version: 1, owner: this.#owner }
  }
}
