/**
 * The durable record of a task: `metadata.background` of its child session, which OpenCode stores over a
 * restart and sends to every client. This file is its format; `records.ts` writes it.
 */
import * as z from 'zod/mini'
import type { Session } from '../host/opencode.ts'
import { NOTICES, TRANSITIONS } from '../text/step-text.ts'
import { KINDS } from '../work/kinds.ts'
import type { Work } from '../work/work.ts'
import { ownerSchema, type Owner } from './owner.ts'
import { REQUESTS } from './request.ts'
import { stateSchema, statuses } from './state-schema.ts'
import type { Step } from './step.ts'
import type { Task } from './task.ts'

/** The record's key in a session's metadata. */
export const RECORD_KEY = 'background'

/** The names of the steps are the keys of their texts. */
function keysOf<Key extends string>(texts: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(texts) as Key[]
}

const stepSchema = z.intersection(
  z.object({ at: z.number(), times: z.number() }),
  z.discriminatedUnion('type', [
    z.object({ type: z.literal('queued') }),
    z.object({ type: z.literal('waits'), detail: z.string() }),
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
    z.object({ type: z.literal('request'), request: z.enum(REQUESTS) }),
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

type WorkSchema = (typeof KINDS)[Work['kind']]['schema']

const workSchema = z.discriminatedUnion(
  'kind',
  Object.values(KINDS).map(({ schema }) => schema) as [WorkSchema, ...WorkSchema[]],
)

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

/** Returns the record of a task with its newest steps, as the value of `RECORD_KEY`. */
export function recordOf(
  { sessionID: _, ...task }: Recordable,
  owner: Owner,
  steps: readonly Step[],
): object {
  return { ...task, version: 1, owner, steps }
}
