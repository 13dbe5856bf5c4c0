/**
 * The data of a job, from the launcher to the worker and back. Rows of the queue contain it, so it has no credential. It comes
 * from another machine, so nothing is used before its schema has accepted it. Pure.
 */
import * as z from 'zod/mini'
import { englishLocale } from '../text/zod-locale.ts'

/** Increase it when a worker of an older version would misunderstand the payload. */
const VERSION = 1

const text = (most: number) => z.string().check(z.maxLength(most))
/** More than any model reads. */
const LONGEST_TEXT = 4_000_000
const LONGEST_NAME = 300

const commit = z.string().check(z.regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'expected a hash of a commit'))
/** A bundle of git of at most 50 MB, in base64. */
const bundle = z.string().check(z.maxLength(68_000_000), z.regex(/^[A-Za-z0-9+/]*={0,2}$/, 'expected base64'))
const amount = z.number().check(z.minimum(0))
/** As in the record of a task. */
const usage = z.strictObject({ toolCalls: amount, tokens: amount, cost: amount })

const payloadSchema = z.strictObject({
  version: z.literal(VERSION),
  taskID: z.string().check(z.regex(/^bg_[0-9a-f]{8}$/, 'expected the id of a task')),
  run: z.int().check(z.minimum(1)),
  agent: text(LONGEST_NAME),
  model: z.exactOptional(
    z.strictObject({
      providerID: text(LONGEST_NAME),
      modelID: text(LONGEST_NAME),
      variant: z.exactOptional(text(LONGEST_NAME)),
    }),
  ),
  description: text(1000),
  prompt: text(LONGEST_TEXT),
  budget: z.exactOptional(
    z.strictObject({
      cost: z.exactOptional(amount),
      tokens: z.exactOptional(amount),
      toolCalls: z.exactOptional(amount),
      minutes: z.exactOptional(amount),
    }),
  ),
  /** What the agent may not do. Only denials travel, so that no launch widens what a worker's configuration allows. */
  denials: z.array(z.strictObject({ permission: text(LONGEST_NAME), pattern: text(LONGEST_TEXT) })),
  code: z.strictObject({
    /** The state from which the agent starts. */
    commit,
    /** Absent where each worker has the commit, or fetches it from its own remote. */
    bundle: z.exactOptional(bundle),
    /** The directory of the launch in its checkout: '' or with a trailing slash. */
    prefix: text(4096),
  }),
})

const resultSchema = z.strictObject({
  version: z.literal(VERSION),
  outcome: z.discriminatedUnion('status', [
    z.strictObject({
      status: z.literal('completed'),
      incomplete: z.exactOptional(z.enum(['noAnswer', 'length', 'contentFilter', 'noEnd', 'steps'])),
      question: z.exactOptional(text(LONGEST_TEXT)),
    }),
    z.strictObject({
      status: z.literal('failed'),
      failure: z.strictObject({
        reason: z.enum([
          'error',
          'timeout',
          'empty',
          'interrupted',
          'exit',
          'output',
          'budget',
          'dependency',
        ]),
        message: text(LONGEST_TEXT),
      }),
    }),
    z.strictObject({ status: z.literal('cancelled') }),
  ]),
  text: text(LONGEST_TEXT),
  usage,
  code: z.discriminatedUnion('type', [
    /** The agent changed nothing, or no tree was made. */
    z.strictObject({ type: z.literal('none') }),
    /** Without a bundle, the launch has the commit: an agent can go back to an earlier one. */
    z.strictObject({ type: z.literal('committed'), commit, bundle: z.exactOptional(bundle) }),
    /** The changes stay at the worker: `why` names the directory. */
    z.strictObject({ type: z.literal('kept'), why: text(LONGEST_TEXT) }),
  ]),
})

/** A commit of the files while the agent works. */
const checkpointSchema = z.strictObject({ version: z.literal(VERSION), commit, bundle })

/** The report of a worker about a job, with each sign of life. */
const reportSchema = z.strictObject({
  version: z.literal(VERSION),
  usage,
  /** What the agent does now. */
  activity: z.exactOptional(text(LONGEST_NAME)),
  /** The open permission requests of the agent. */
  questions: z.array(
    z.strictObject({
      id: text(LONGEST_NAME),
      permission: text(LONGEST_NAME),
      patterns: z.array(text(10_000)),
    }),
  ),
})

export type Payload = z.infer<typeof payloadSchema>
export type Result = z.infer<typeof resultSchema>
export type Checkpoint = z.infer<typeof checkpointSchema>
export type Report = z.infer<typeof reportSchema>

/** Received data does not match its schema. */
export class BadPayload extends Error {
  override readonly name = 'BadPayload'
}

/** Parses a payload. Throws a `BadPayload`. */
export function readPayload(given: unknown): Payload {
  return read(payloadSchema, given, 'job')
}

/** Parses a result. Throws a `BadPayload`. */
export function readResult(given: unknown): Result {
  return read(resultSchema, given, 'result')
}

/** Parses a checkpoint. Throws a `BadPayload`. */
export function readCheckpoint(given: unknown): Checkpoint {
  return read(checkpointSchema, given, 'checkpoint')
}

/** Parses a report; returns `undefined` for one that this version does not understand. */
export function readReport(given: unknown): Report | undefined {
  return reportSchema.safeParse(given).data
}

export function payloadOf(payload: Omit<Payload, 'version'>): Payload {
  return { version: VERSION, ...payload }
}

export function resultOf(result: Omit<Result, 'version'>): Result {
  return { version: VERSION, ...result }
}

export function reportOf(report: Omit<Report, 'version'>): Report {
  return { version: VERSION, ...report }
}

export function checkpointOf(checkpoint: Omit<Checkpoint, 'version'>): Checkpoint {
  return { version: VERSION, ...checkpoint }
}

function read<Schema extends z.ZodMiniType>(schema: Schema, given: unknown, what: string): z.infer<Schema> {
  const { success, data, error } = schema.safeParse(given, englishLocale)
  if (success) return data
  const [issue] = error.issues
  const where = issue?.path.join('.') || what
  const why = issue?.code === 'unrecognized_keys' ? `unknown ${issue.keys.join(', ')}` : issue?.message
  throw new BadPayload(`the ${what} cannot be read: ${where}: ${why}`)
}
