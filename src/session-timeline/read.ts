/** Reads the timeline of a session from OpenCode. */
import PQueue from 'p-queue'
import * as z from 'zod/mini'
import { systemClock } from '../clock.ts'
import { connect } from '../host/calls.ts'
import { HostError, type Client, type Opencode, type StoredMessage } from '../host/opencode.ts'
import { systemOwners, type Owner } from '../task/owner.ts'
import { readRecord } from '../task/record.ts'
import { isEnded } from '../task/task.ts'
import { findingsOf } from './findings.ts'
import { isUnread, readingsOf } from './end-readings.ts'
import type { SessionTimeline, TaskTimeline } from './session-timeline.ts'
import { filesRead, lastSignOf, taskTimeline, turnsOf } from './task-timeline.ts'

export interface TimelineOptions {
  /** Leaves out titles, descriptions, prompts, results, paths and stories. */
  readonly redact?: boolean | undefined
  /** Called after each session that was read, with the number of sessions. */
  readonly onProgress?: ((done: number, all: number) => void) | undefined
}

/** How many sessions are read at once, because each can have megabytes of messages. */
const AT_ONCE = 4
/**
 * How many messages the first call asks for; most agents have no more. A second call would cost OpenCode more than these messages
 * (seen), and hundreds of sessions are read.
 */
const FIRST_PAGE = 32
/** The limit of a text of a task, in bytes of UTF-8. */
const TEXT_BYTES = 32_768

const PACKAGE = 'opencode-background'

/**
 * Reads what happened to the tasks of a session, from their records and messages. It changes nothing.
 *
 * Rejects with a `HostError`: `notFound` where the server has no such session.
 *
 * @param client of the SDK, or the one that a plugin receives
 */
export async function timelineOf(
  client: Client,
  sessionID: string,
  options: TimelineOptions = {},
): Promise<SessionTimeline> {
  return readTimeline(await connectToSession(client, sessionID), sessionID, options)
}

/** Connects to the directory of a session. Rejects with a `HostError`. */
export async function connectToSession(client: Client, sessionID: string): Promise<Opencode> {
  const { directory } = await connect(client, '', systemClock).session(sessionID)
  return connect(client, directory, systemClock)
}

/** @param opencode of the session's directory */
export async function readTimeline(
  opencode: Opencode,
  sessionID: string,
  { redact = false, onProgress = () => {} }: TimelineOptions,
): Promise<SessionTimeline> {
  const { directory, title } = await opencode.session(sessionID)
  const children = await opencode.children(sessionID)
  const found = children.flatMap((session) => {
    const record = readRecord(session)
    return record ? [{ ...record, createdAt: session.time.created, sessionID: session.id }] : []
  })
  const all = found.length + 1
  let done = 0
  const progress = (): void => onProgress((done += 1), all)
  const parentMessages = await opencode.messages(sessionID)
  const isAtWork = sessionID in (await opencode.statuses())
  const readAt = systemClock.now()
  progress()
  const context = { readings: readingsOf(parentMessages), readAt, textBytes: TEXT_BYTES, redact }
  const unread = found.filter(({ task }) => isUnread(context.readings, task)).length
  const files = new Map<string, string[]>()
  const queue = new PQueue({ concurrency: AT_ONCE })
  const tasks = await queue.addAll(
    found.map((read) => async (): Promise<TaskTimeline> => {
      const messages = await messagesOf(opencode, read.sessionID)
      for (const path of filesRead(messages ?? [])) {
        const readers = files.get(path)
        if (readers) readers.push(read.task.id)
        else files.set(path, [read.task.id])
      }
      progress()
      return taskTimeline({ ...read, messages, isLeft: !isEnded(read.task) && isGone(read.owner) }, context)
    }),
  )
  tasks.sort((one, other) => (one.runs[0]?.from ?? 0) - (other.runs[0]?.from ?? 0))
  const limits = await limitsOf(opencode)
  const known = limits && { limits }
  return {
    sessionID,
    title: redact ? '' : title,
    directory: redact ? '' : directory,
    readAt,
    turns: turnsOf(parentMessages, isAtWork ? readAt : lastSignOf(parentMessages)),
    tasks,
    ...known,
    findings: findingsOf({ tasks, ...known }, { filesRead: files, unread }, redact),
    redacted: redact,
  }
}

/** Whether the process that ran a task is known to be gone. */
function isGone(owner: Owner): boolean {
  const owners = systemOwners(owner.name, owner.directory)
  // The OpenCode that runs the task can be the one that writes its timeline.
  const isSelf = owner.pid === owners.self.pid && owner.process === owners.self.process
  return !isSelf && owners.isGone(owner)
}

/** Returns `undefined` where OpenCode refuses the messages of this session alone. */
async function messagesOf(
  opencode: Opencode,
  sessionID: string,
): Promise<readonly StoredMessage[] | undefined> {
  try {
    return await opencode.messages(sessionID, FIRST_PAGE)
  } catch (error) {
    if (error instanceof HostError && (error.reason === 'refused' || error.reason === 'notFound'))
      return undefined
    throw error
  }
}

const limitsSchema = z.object({
  concurrency: z.object({ total: z.optional(z.number()), commands: z.optional(z.number()) }),
})

/** Returns the limits that OpenCode's configuration sets for this plugin. */
async function limitsOf(opencode: Opencode): Promise<SessionTimeline['limits']> {
  const own = (await opencode.plugins()).find(
    (entry) => Array.isArray(entry) && String(entry[0]).includes(PACKAGE),
  )
  const { success, data } = limitsSchema.safeParse(Array.isArray(own) ? own[1] : undefined)
  if (!success) return undefined
  const { total, commands } = data.concurrency
  return { ...(total !== undefined && { total }), ...(commands !== undefined && { commands }) }
}
