/** The schema of a task's state, which is the same for each kind of work. Pure. */
import * as z from 'zod/mini'
import { STATUSES } from './status.ts'
import type { TaskStatus } from './state.ts'

export const statuses = z.enum(Object.keys(STATUSES) as TaskStatus[])

const matched = z.exactOptional(z.object({ text: z.exactOptional(z.string()), at: z.number() }))

const listening = z.exactOptional(z.object({ port: z.int(), at: z.number() }))

const waitedMs = z.exactOptional(z.number())

const monitored = z.exactOptional(z.object({ matches: z.int(), notices: z.int(), at: z.number() }))

const lostAt = z.exactOptional(z.number())

const started = { startedAt: z.number(), waitedMs, lostAt, matched, listening, monitored }

export const usageSchema = z.object({ toolCalls: z.number(), tokens: z.number(), cost: z.number() })

const ended = {
  startedAt: z.exactOptional(z.number()),
  endedAt: z.number(),
  waitedMs,
  usage: usageSchema,
  exit: z.exactOptional(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('exited'), code: z.int() }),
      z.object({ type: z.literal('killed'), signal: z.string() }),
    ]),
  ),
  changes: z.exactOptional(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('none') }),
      z.object({ type: z.literal('kept'), why: z.string() }),
      z.object({
        type: z.literal('committed'),
        commit: z.string(),
        commits: z.int(),
        files: z.int(),
        insertions: z.int(),
        deletions: z.int(),
        paths: z.array(z.string()),
        conflicts: z.exactOptional(z.array(z.string())),
        rivals: z.exactOptional(z.array(z.string())),
        left: z.exactOptional(z.string()),
      }),
      z.object({ type: z.literal('failed'), message: z.string() }),
      z.object({ type: z.literal('removed'), commit: z.string() }),
    ]),
  ),
  matched,
  listening,
  monitored,
}

export const endSchema = z.discriminatedUnion('status', [
  z.object({
    ...ended,
    status: z.literal('completed'),
    incomplete: z.exactOptional(z.enum(['noAnswer', 'length', 'contentFilter', 'noEnd', 'steps'])),
    question: z.exactOptional(z.string()),
  }),
  z.object({
    ...ended,
    status: z.literal('failed'),
    failure: z.object({
      reason: z.enum(['error', 'timeout', 'empty', 'interrupted', 'exit', 'output', 'budget', 'dependency']),
      message: z.string(),
    }),
  }),
  z.object({ ...ended, status: z.literal('cancelled'), by: z.enum(['parent', 'user']) }),
])

const permissionSchema = z.object({
  id: z.string(),
  permission: z.string(),
  patterns: z.array(z.string()),
  unansweredAt: z.exactOptional(z.number()),
})

export const stateSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('pending') }),
  z.object({ ...started, status: z.literal(['starting', 'running']) }),
  z.object({
    ...started,
    status: z.literal('waiting'),
    permissionRequests: z.tuple([permissionSchema], permissionSchema),
    waitingSince: z.exactOptional(z.number()),
  }),
  endSchema,
])
