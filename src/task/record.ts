/**
 * The durable record of a task: `metadata.background` of its child session, which OpenCode stores over a
 * restart and sends to every client. It is written in the call that creates the session, after each event of
 * `RECORDED`, and when a command has begun. OpenCode's status of the session shows that an agent works.
 */
import * as z from 'zod/mini'
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
import { readBack } from '../host/newest.ts'
import { NOTICES, TRANSITIONS } from '../text/step-text.ts'
import { wordsOf } from '../text/words.ts'
import { ToolError } from '../tool-error.ts'
import { ownerSchema, type Owner } from './owner.ts'
import { readRequest, REQUEST_KEY } from './request.ts'
import type { Step } from './step.ts'
import type { StoreEvent, TaskStore } from './store.ts'
import { isEnded, type AgentTask, type Draft, type EndedTask, type Task } from './task.ts'

/** The record's key in a session's metadata. */
const RECORD_KEY = 'background'

/** Events that change the persisted record. */
const RECORDED: ReadonlySet<StoreEvent['type']> = new Set([
  'appended',
  'steered',
  'outputMatched',
  'listening',
  'ended',
  'continued',
])

const statuses = z.enum(['pending', 'starting', 'running', 'waiting', 'completed', 'failed', 'cancelled'])

/** The names of the steps are the keys of their texts. */
function keysOf<Key extends string>(texts: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(texts) as Key[]
}

const stepSchema = z.intersection(
  z.object({ at: z.number(), times: z.number() }),
  z.discriminatedUnion('type', [
    z.object({ type: z.literal('queued') }),
    z.object({ type: z.literal('recovered'), status: statuses }),
    z.object({
      type: z.literal('transition'),
      event: z.enum(keysOf(TRANSITIONS)),
      status: statuses,
      detail: z.exactOptional(z.string()),
    }),
    z.object({ type: z.literal('answering') }),
    z.object({ type: z.literal('tool'), tool: z.string(), state: z.enum(['running', 'completed', 'error']) }),
    z.object({ type: z.literal('idle'), detail: z.string() }),
    z.object({ type: z.literal('retry'), attempt: z.number(), message: z.string() }),
    z.object({ type: z.literal('request'), request: z.enum(['cancel', 'continue', 'output']) }),
    z.object({
      type: z.literal('notice'),
      notice: z.enum(keysOf(NOTICES)),
    }),
  ]),
)

const stepsSchema = z.object({ steps: z.array(stepSchema) })

const identitySchema = z.object({
  version: z.literal(1),
  owner: ownerSchema,
  id: z.string().check(z.regex(/^bg_[0-9a-f]{8}$/)),
  run: z.int().check(z.minimum(1)),
  parentID: z.string(),
  description: z.string(),
  createdAt: z.number(),
})

const matched = z.exactOptional(z.object({ text: z.exactOptional(z.string()), at: z.number() }))

const listening = z.exactOptional(z.object({ port: z.int(), at: z.number() }))

const started = { startedAt: z.number(), matched, listening }

const usage = z.object({ toolCalls: z.number(), tokens: z.number(), cost: z.number() })

const ended = {
  startedAt: z.exactOptional(z.number()),
  endedAt: z.number(),
  usage,
  exit: z.exactOptional(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('exited'), code: z.int() }),
      z.object({ type: z.literal('killed'), signal: z.string() }),
    ]),
  ),
  matched,
  listening,
}

const endSchema = z.discriminatedUnion('status', [
  z.object({
    ...ended,
    status: z.literal('completed'),
    incomplete: z.exactOptional(z.enum(['noAnswer', 'length', 'contentFilter', 'noEnd', 'steps'])),
  }),
  z.object({
    ...ended,
    status: z.literal('failed'),
    failure: z.object({
      reason: z.enum(['error', 'timeout', 'empty', 'interrupted', 'exit', 'output']),
      message: z.string(),
    }),
  }),
  z.object({ ...ended, status: z.literal('cancelled'), by: z.enum(['parent', 'user']) }),
])

const askedSchema = z.object({
  id: z.string(),
  permission: z.string(),
  patterns: z.array(z.string()),
  unansweredAt: z.exactOptional(z.number()),
})

const stateSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('pending') }),
  z.object({ ...started, status: z.literal(['starting', 'running']) }),
  z.object({
    ...started,
    status: z.literal('waiting'),
    permissionRequests: z.tuple([askedSchema], askedSchema),
  }),
  endSchema,
])

const promptIDs = z.tuple([z.string()], z.string())

const workSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('agent'),
    agent: z.string(),
    model: z.exactOptional(
      z.object({ providerID: z.string(), modelID: z.string(), variant: z.exactOptional(z.string()) }),
    ),
    maxSteps: z.exactOptional(z.number()),
    prompt: z.string(),
    promptIDs,
    askedBy: z.exactOptional(z.literal('user')),
    earlier: z.exactOptional(
      z.array(
        z.intersection(
          z.object({ run: z.int().check(z.minimum(1)), promptIDs, createdAt: z.number() }),
          endSchema,
        ),
      ),
    ),
    usedBefore: z.exactOptional(usage),
  }),
  z.object({
    kind: z.literal('command'),
    command: z.string(),
    shell: z.exactOptional(z.string()),
    cwd: z.string(),
    timeoutMs: z.number(),
    timeoutIsDefault: z.exactOptional(z.boolean()),
    hasOpenInput: z.exactOptional(z.boolean()),
    notifyOn: z.array(z.string()),
  }),
])

/** Whether the messages of an agent, or the files of a command, show the same end: no other cause stopped it. */
function isProvedElsewhere(task: Task): boolean {
  if (task.status === 'completed') return true
  return task.status === 'failed' && ['error', 'empty', 'exit'].includes(task.failure.reason)
}

/** Whether a command has begun: only the record shows it, because OpenCode does not know of commands. */
function isBegun({ kind }: Task, { type }: StoreEvent): boolean {
  return kind === 'command' && type === 'prompted'
}

/** Version 1 of the value of `RECORD_KEY`: the task, without the steps (`stepsSchema`), and its owner. */
const recordSchema = z.intersection(z.intersection(identitySchema, workSchema), stateSchema)

type Recorded = z.infer<typeof recordSchema>
/** Each field of a type, as `failure.reason`, and each literal value, as `failure.reason=timeout`. */
type FactsOf<Type> = Type extends boolean
  ? never
  : Type extends string
    ? string extends Type
      ? never
      : `=${Type}`
    : Type extends readonly (infer Item)[]
      ? FactsOf<Item>
      : Type extends object
        ? { [Key in keyof Type & string]: Key | Beneath<Key, FactsOf<NonNullable<Type[Key]>>> }[keyof Type &
            string]
        : never
type Beneath<Key extends string, Fact> = Fact extends `=${string}`
  ? `${Key}${Fact}`
  : Fact extends string
    ? `${Key}.${Fact}`
    : never
/** The facts of a task and its steps that the schema lacks: a restart would lose them. */
type Lost = Exclude<
  FactsOf<Task> | FactsOf<{ steps: Step[] }>,
  FactsOf<Recorded> | FactsOf<z.infer<typeof stepsSchema>> | 'sessionID'
>
/** Where the schema lacks a fact, no task can be recorded, and the compiler names it. */
type Recordable = [Lost] extends [never] ? Task : { readonly schemaLacks: Lost }

/** Reads the record in a session's metadata; `undefined` where it is absent or has another format. */
export function readRecord({
  id: sessionID,
  metadata,
}: Session): { task: Task; owner: Owner; steps: readonly Step[] } | undefined {
  const parsed = recordSchema.safeParse(metadata?.[RECORD_KEY])
  if (!parsed.success) return undefined
  const { version: _, owner, ...task } = parsed.data
  // Another version may write other steps: the task is read without them.
  const { data } = stepsSchema.safeParse(metadata?.[RECORD_KEY])
  return { task: { ...task, sessionID }, owner, steps: data?.steps ?? [] }
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

export class TaskRecords {
  readonly #opencode: Opencode
  readonly #log: Log
  readonly #store: TaskStore
  readonly #owner: Owner
  readonly #timeline: { newest: (taskID: string) => readonly Step[] }
  /** The records of ends that wait for their notices, by session. */
  readonly #pending = new Map<string, Promise<void>>()
  /** The newest write for each session: each write awaits the one before it. */
  readonly #writing = new Map<string, Promise<void>>()
  /** Other metadata of the sessions of unfinished tasks: each write repeats it, because it replaces the object. */
  readonly #metadata = new Map<string, { readonly [key: string]: unknown }>()

  constructor(
    ports: {
      opencode: Opencode
      log: Log
      store: TaskStore
      /** The newest steps of a task are written with its record. */
      timeline: { newest: (taskID: string) => readonly Step[] }
    },
    owner: Owner,
  ) {
    this.#timeline = ports.timeline
    this.#opencode = ports.opencode
    this.#log = ports.log
    this.#store = ports.store
    this.#owner = owner
  }

  /** @param sent what the record of an end waits for: its notice */
  observeTask(task: Task, event: StoreEvent, sent: () => Promise<void> | undefined): void {
    const after = event.type === 'ended' && isProvedElsewhere(task) ? sent() : undefined
    if (event.type === 'outputMatched' && isEnded(task)) this.#rewrite(task)
    else if (after) this.#writeAfter(task, after)
    else if (RECORDED.has(event.type) || isBegun(task, event)) this.#write(task)
  }

  /** Creates the child session with the record in it. Rejects with a `HostError`. */
  async create<Kind extends Draft>(
    draft: Kind,
    permission: PermissionRuleset,
  ): Promise<Kind & { readonly sessionID: string; readonly status: 'pending' }> {
    const pending = { ...draft, status: 'pending' as const }
    const session = await this.#opencode.createSession({
      parentID: draft.parentID,
      title: `${draft.description} (${wordsOf(draft).titleSuffix(draft)})`,
      permission,
      metadata: { [RECORD_KEY]: this.#recordOf({ ...pending, sessionID: '' }) },
    })
    this.#metadata.set(session.id, session.metadata ?? {})
    return { ...pending, sessionID: session.id }
  }

  /** Records a task that this process adopts. */
  adopt(task: Task, { metadata }: Session): void {
    this.#metadata.set(task.sessionID, metadata ?? {})
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
      const { metadata } = await this.#opencode.session(sessionID)
      this.#metadata.set(sessionID, metadata ?? {})
      if (task.prompt === '') return true
      // A later message of the user may have undone the prompt, which must then not be sent again.
      const isSince = ({ role, time, id: messageID }: Message): boolean =>
        role === 'user' && time.created >= createdAt && !steers.includes(messageID)
      const hasPrompt = (messages: readonly StoredMessage[]): boolean =>
        messages.some(({ info }) => info.id === promptID || isSince(info))
      return hasPrompt(await readBack(this.#opencode, sessionID, hasPrompt))
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
    const { metadata } = await this.#opencode.session(sessionID)
    const marked = { ...metadata, ...fields }
    // This write replaces the one that waits for a notice.
    if (this.#pending.delete(sessionID)) this.#metadata.delete(sessionID)
    if (this.#metadata.has(sessionID)) this.#metadata.set(sessionID, marked)
    const task = this.#store.findBySession(sessionID)
    if (task) this.#queue(task, marked)
    else await this.#opencode.replaceMetadata(sessionID, marked)
    await this.written(sessionID)
  }

  /** Writes the end of a task whose owner is gone; it stays that of `owner`. Rejects with a `HostError`. */
  async recordEnd(task: Task, { metadata }: Session, owner: Owner): Promise<void> {
    const beside = withoutOpenRequest(metadata ?? {})
    await this.#opencode.replaceMetadata(task.sessionID, {
      ...beside,
      [RECORD_KEY]: this.#recordOf(task, owner),
    })
  }

  observeSession({ id, metadata }: Session): void {
    if (metadata && this.#metadata.has(id)) this.#metadata.set(id, metadata)
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
      if (this.#pending.get(sessionID) === pending) this.#write(this.#store.now(task))
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
      this.#log.warn(`${id}: could not be recorded again: ${errorText(error)}`)
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
      await this.#opencode.replaceMetadata(task.sessionID, metadata)
    } catch (error) {
      // A deleted session needs no record. Otherwise the end can still be read from its messages.
      if (error instanceof HostError && error.reason === 'notFound') return
      this.#log.warn(`${task.id}: could not be recorded as ${task.status}: ${errorText(error)}`)
    }
  }

  #recordOf({ sessionID: _, ...task }: Recordable, owner = this.#owner): object {
    return { ...task, version: 1, owner, steps: this.#timeline.newest(task.id) }
  }
}
