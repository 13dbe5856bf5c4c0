/** Writes the timeline of a session as a page: `opencode-background timeline`. Loaded by this command alone. */
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk/client'
import { createOpencodeServer } from '@opencode-ai/sdk/server'
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { errorText, HostError, type Session } from '../host/opencode.ts'
import { authorization, PASSWORD } from '../host/server-address.ts'
import { UsageError } from '../usage-error.ts'
import { readRecord } from '../task/record.ts'
import { HELP, parseTimelineLine, type TimelineSettings } from './command-line.ts'
import { connectToSession } from './read.ts'
import { writeTimeline } from './timeline-file.ts'

const PREFIX = 'opencode-background timeline: '
/** Generous, because the plugins of the user load at the start. */
const START_LIMIT_MS = 60_000
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** Sets the exit code: 0, 1 if the timeline could not be written, 2 for a mistake in the command line. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    const settings = parseTimelineLine(args)
    if (settings) await write(settings)
    else process.stdout.write(HELP)
  } catch (error) {
    const isUsage = error instanceof UsageError
    const hint = isUsage ? 'opencode-background timeline --help lists the options.\n' : ''
    process.stderr.write(`${PREFIX}${errorText(error)}\n${hint}`)
    process.exitCode = isUsage ? 2 : 1
  }
}

async function write(settings: TimelineSettings): Promise<void> {
  const { attachTo, redact, open } = settings
  const server = attachTo === undefined ? await startServer() : { url: attachTo, close: () => {} }
  try {
    const client = createOpencodeClient({
      baseUrl: server.url,
      directory: process.cwd(),
      headers: authorization(),
    })
    const sessionID = settings.sessionID ?? (await newestSession(client))
    const file = resolve(settings.file ?? `timeline-${sessionID}.html`)
    const opencode = await connectToSession(client, sessionID)
    const isOpen = await writeTimeline(opencode, sessionID, file, { redact, open, onProgress: showProgress })
    process.stdout.write(`${file}\n`)
    if (open && !isOpen) process.stderr.write(`${PREFIX}no browser could be opened\n`)
  } finally {
    server.close()
  }
}

/** Starts a server for this directory, with a password that nobody else knows. A signal stops it too. */
async function startServer(): Promise<{ readonly url: string; close(): void }> {
  const stopping = new AbortController()
  for (const name of SIGNALS)
    process.once(name, () => {
      stopping.abort()
      // The handler was removed, so that the signal now ends this process.
      process.kill(process.pid, name)
    })
  // The server inherits the environment.
  process.env[PASSWORD] = randomUUID()
  const { OPENCODE_CONFIG_CONTENT: config = '{}' } = process.env
  try {
    return await createOpencodeServer({
      port: 0,
      timeout: START_LIMIT_MS,
      signal: stopping.signal,
      config: JSON.parse(config) as object,
    })
  } catch (error) {
    throw new Error(
      `OpenCode could not be started: ${errorText(error)}. Is \`opencode\` in the PATH? Or name a running server: --attach URL`,
      { cause: error },
    )
  }
}

/** Returns the parent of the newest task in this directory, otherwise the newest session. */
async function newestSession(client: OpencodeClient): Promise<string> {
  const { data, error, response } = await client.session.list().catch((reason: unknown) => {
    throw new HostError('noAnswer', `OpenCode could not be reached: ${errorText(reason)}`)
  })
  if (response.status === 401)
    throw new HostError(
      'unauthorized',
      `OpenCode refused the password: set ${PASSWORD} to that of the server`,
    )
  if (error !== undefined)
    throw new HostError('refused', `OpenCode refused session.list: ${errorText(error)}`)
  const sessions = (data as unknown as readonly Session[]).toSorted(
    (one, other) => other.time.updated - one.time.updated,
  )
  const task = sessions.find((session) => readRecord(session))
  const newest = task?.parentID ?? sessions.find(({ parentID }) => parentID === undefined)?.id
  if (newest !== undefined) return newest
  throw new Error('this directory has no session. Run it where OpenCode worked, or name a session')
}

function showProgress(done: number, all: number): void {
  const end = done === all ? '\n' : ''
  if (process.stderr.isTTY) process.stderr.write(`\rread ${done} of ${all} sessions${end}`)
  else if (done === all) process.stderr.write(`read ${all} sessions\n`)
}
