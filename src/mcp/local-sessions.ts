/**
 * Stores sessions in files, for a manager of commands without OpenCode: one parent session for each root, and one child session
 * with the record of each command. It implements the calls of OpenCode, so that records, owners and recovery work unchanged.
 */
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import * as z from 'zod/mini'
import type { Log } from '../host/log.ts'
import { errorText, HostError, type NewSession, type Opencode, type Session } from '../host/opencode.ts'
import { readRecord } from '../task/record.ts'
import { isEnded } from '../task/task.ts'
import { KEPT_MS } from '../work/command/logs.ts'

const sessionSchema = z.object({
  id: z.string(),
  parentID: z.string(),
  title: z.string(),
  metadata: z.record(z.string(), z.unknown()),
})

type StoredSession = z.infer<typeof sessionSchema>

interface Ports {
  readonly log: Log
  /** The directory with a directory for the files of each command. */
  readonly commands: string
  /** In milliseconds since the Unix epoch. */
  readonly now: () => number
}

/** Returns the session that launches the commands of a root. */
export function parentOf(root: string): string {
  return `ses_mcp_${createHash('sha256').update(root).digest('hex').slice(0, 16)}`
}

/** Returns the OpenCode calls of a manager of commands, on the sessions of a root (an absolute real path). */
export function localSessions(root: string, { log, commands, now }: Ports): Opencode {
  const parentID = parentOf(root)
  const directory = join(dirname(commands), 'mcp', parentID)
  const pathOf = (sessionID: string): string => join(directory, `${sessionID}.json`)

  /** Replaces the file in one step, because another process may read it. */
  const write = (session: StoredSession): void => {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const path = pathOf(session.id)
      writeFileSync(`${path}.new`, JSON.stringify(session), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    } catch (error) {
      throw new HostError('refused', `a record could not be written: ${errorText(error)}`)
    }
  }

  const read = (sessionID: string): StoredSession | undefined => {
    try {
      return sessionSchema.parse(JSON.parse(readFileSync(pathOf(sessionID), 'utf8')))
    } catch {
      return undefined
    }
  }

  const existing = (sessionID: string): StoredSession => {
    const session = read(sessionID)
    if (!session) throw new HostError('notFound', `there is no session ${sessionID}`)
    return session
  }

  /** Whether the record of an ended command can go: the files of the command were removed, and the last write was long ago. */
  const isOld = (session: StoredSession): boolean => {
    const task = readRecord(asSession(session))?.task
    if (!task || !isEnded(task) || existsSync(join(commands, task.id))) return false
    const stats = statSync(pathOf(session.id), { throwIfNoEntry: false })
    return stats !== undefined && now() - stats.mtimeMs > KEPT_MS
  }

  const all = (): readonly StoredSession[] => {
    const names = existsSync(directory) ? readdirSync(directory) : []
    const sessions = names.flatMap((name) => (name.endsWith('.json') ? (read(name.slice(0, -5)) ?? []) : []))
    const old = sessions.filter(isOld)
    for (const { id } of old) rmSync(pathOf(id), { force: true })
    return sessions.filter((session) => !old.includes(session))
  }

  return {
    agents: () => Promise.resolve([]),
    providers: () => Promise.resolve([]),
    plugins: () => Promise.resolve([]),
    primaryTools: () => Promise.resolve([]),
    createSession: async ({ parentID: parent, title, metadata }: NewSession) => {
      const id = `ses_${now().toString(16)}${randomBytes(8).toString('hex')}`
      const session = { id, parentID: parent, title, metadata }
      write(session)
      return Promise.resolve(asSession(session))
    },
    session: (sessionID) =>
      asked(() =>
        sessionID === parentID
          ? ({ id: parentID, title: root, directory: root } as Session)
          : asSession(existing(sessionID)),
      ),
    children: (sessionID) => asked(() => (sessionID === parentID ? all().map(asSession) : [])),
    replaceMetadata: (sessionID, metadata) => asked(() => write({ ...existing(sessionID), metadata })),
    prompt: () => Promise.resolve(),
    leaveMessage: () => Promise.resolve(),
    abort: () => Promise.resolve(),
    permissions: () => Promise.resolve([]),
    rejectPermission: () => Promise.resolve(),
    messages: () => Promise.resolve([]),
    newestMessages: () => Promise.resolve([]),
    statuses: () => Promise.resolve({}),
    include: () => () => {},
    moveSession: () => Promise.resolve(),
    endInstance: () => Promise.resolve(),
    events: () => Promise.resolve(),
    callShellHooks: () => Promise.resolve(),
    log: (_, message) => Promise.resolve(log.warn(message)),
    warn: (message) => Promise.resolve(log.warn(message)),
  }
}

/** Runs work on files as a call of OpenCode: an exception becomes a rejection. */
async function asked<Result>(work: () => Result): Promise<Result> {
  return Promise.resolve().then(work)
}

function asSession(session: StoredSession): Session {
  return session as unknown as Session
}
