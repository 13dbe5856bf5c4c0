/**
 * The OpenCode beside which a worker runs, and the rooms that run its agents there. They are those of any manager outside of
 * OpenCode; no notice wakes a model, because nobody reads the session under which the agents are.
 */
import { createOpencodeClient } from '@opencode-ai/sdk/client'
import { systemClock } from '../../clock.ts'
import { parseOptions, type OptionsInput } from '../../config.ts'
import { follow } from '../../event-stream.ts'
import { authorization } from '../../host/server-address.ts'
import type { Log } from '../../host/log.ts'
import { answered, namedSession } from '../../host/named-session.ts'
import { HostError, type Opencode } from '../../host/opencode.ts'
import { realPorts } from '../../ports.ts'
import { buildRooms, type Rooms } from '../../rooms.ts'
import { Problems } from '../../setup/problems.ts'
import { UsageError } from '../../usage-error.ts'
import { checkoutOf } from '../../worktree/checkout.ts'
import { git, type Git } from '../../worktree/git.ts'
import { projectsOf } from '../../worktree/transport.ts'

export interface HostSettings {
  /** The URL of the OpenCode server. */
  readonly url: string
  /** A directory of a clone of the project. */
  readonly directory: string
  /** The name of the worker. */
  readonly name: string
  /** Agents at work at once. */
  readonly slots: number
  /** How long a permission request of an agent may stay unanswered, in milliseconds. */
  readonly permissionTimeoutMs: number
  /** The remote of the clone from which missing commits are fetched; '': none. */
  readonly remote: string
  /** The command line that runs in each new worktree; '': none. */
  readonly setup: string
  /** Contains the worktrees; '': the usual place. */
  readonly trees: string
}

export interface Host {
  readonly rooms: Rooms
  readonly opencode: Opencode
  readonly git: Git
  /** The top directory of the clone. */
  readonly checkout: string
  /** The session under which the agents are. */
  readonly parentID: string
  /** The label of each project that the clone is of. */
  readonly projects: readonly string[]
  /** Leaves the tasks as they are, for the next worker of this name to find. */
  detach(): Promise<void>
}

/** The key in the metadata of the session under which the agents of a worker are. */
const KEY = 'background-worker'

/** Called before each prompt of a session. The prompt is not sent if it rejects, which must be with a `HostError`. */
export type Admission = (sessionID: string) => Promise<void>

/** Connects to OpenCode. Rejects with a `UsageError` that says what to do, if that or the clone cannot be used. */
export async function connectHost(settings: HostSettings, log: Log, admit: Admission): Promise<Host> {
  const { directory, name, remote, slots, url } = settings
  const { root } = await checkoutOf(git, directory).catch((error: Error) => {
    throw new UsageError(`--directory: ${error.message}`)
  })
  if (remote !== '' && (await git(root, ['remote', 'get-url', remote], { answers: [2, 128] })).code !== 0)
    throw new UsageError(`--remote: ${directory} has no remote ${remote}`)
  const client = createOpencodeClient({ baseUrl: url, directory, headers: authorization() })
  await answered('config.get', systemClock, (signal) => client.config.get({ signal })).catch(
    (error: unknown) => {
      throw explained(error, url)
    },
  )
  const { options } = parseOptions(optionsOf(settings))
  const real = realPorts(client, directory, `${KEY} ${name}`, options, undefined)
  const opencode: Opencode = {
    ...real.opencode,
    async prompt(sessionID, prompt) {
      await admit(sessionID)
      await real.opencode.prompt(sessionID, prompt)
    },
  }
  const ports = { ...real, opencode, log }
  const rooms = buildRooms(ports, options)
  rooms.agents.resumeLeftTurns()
  const problems = new Problems(ports)
  await follow(rooms, ports, problems)
  const title = `Worker ${name}`
  const parentID = await namedSession(client, { title, key: KEY, name }, systemClock)
  return {
    rooms,
    opencode,
    git,
    checkout: root,
    projects: await projectsOf(git, root, '--all'),
    parentID,
    async detach() {
      rooms.disposal.abort()
      for (const room of [rooms.parents, rooms.agents, rooms.permissions, rooms.backoff, problems])
        room.dispose()
      await rooms.records.flush()
    },
  }

  function optionsOf({ permissionTimeoutMs, setup, trees }: HostSettings): OptionsInput {
    return {
      concurrency: { total: slots },
      // A task that was cut off keeps its tree, beside those of the tasks at work.
      worktree: { max: 1000, setup, directory: trees },
      maxTasksPerSession: 1000,
      notify: { wake: 'never' },
      permissionNoticeMs: 0,
      permissionTimeoutMs,
    }
  }
}

function explained(error: unknown, url: string): unknown {
  if (!(error instanceof HostError)) return error
  switch (error.reason) {
    case 'unauthorized':
      return new UsageError(
        `the OpenCode at ${url} has a password, and OPENCODE_SERVER_PASSWORD is not set or another one`,
      )
    case 'noAnswer':
      return new UsageError(
        `there is no OpenCode at ${url}: start \`opencode serve --port 4096\` beside the worker, or name another one with --url`,
      )
    default:
      return new UsageError(`the server at ${url} is no OpenCode that this worker can use: ${error.message}`)
  }
}
