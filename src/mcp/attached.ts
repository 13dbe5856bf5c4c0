/** Offers the agents of a running OpenCode to MCP clients, for the option `--attach`. */
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk/client'
import type { Clock } from '../clock.ts'
import type { OptionsInput } from '../config.ts'
import { errorText, HostError } from '../host/opencode.ts'
import { BackgroundManager } from '../manager.ts'
import { authorization } from '../host/server-address.ts'
import { UsageError } from '../usage-error.ts'
import { rulesOf, type Rule } from './permissions.ts'
import { traitsOf } from '../work/kinds.ts'
import { byAsking } from './telling.ts'
import type { Workplace } from './workplace.ts'

interface Ports {
  /** The manager's name: a later manager of the same name recovers its tasks. */
  readonly name: string
  /** The project's directory, which OpenCode works in. */
  readonly root: string
  readonly options: OptionsInput
  /** The rules of the command line. */
  readonly rules: readonly Rule[]
  readonly clock: Clock
}

/** Time limit of a call, because a server that hangs would otherwise block it for ever. */
const CALL_LIMIT_MS = 15_000

/** Key in a session's metadata. Its value names the client for which a server created the session. */
const KEY = 'background-mcp'

/** Connects to the server at `url`. If the server is unreachable or refuses the password, each call reports that. */
export function attach(url: string, { name, root, options, rules, clock }: Ports): Workplace {
  const client = createOpencodeClient({ baseUrl: url, directory: root, headers: authorization() })
  const manager = new BackgroundManager({
    name,
    client,
    directory: root,
    options,
  })
  // Each call reports what fails.
  void manager.follow().catch(() => {})
  const parents = new Map<string, Promise<string>>()
  return {
    manager,
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    telling: byAsking(manager.toolNames, 'agents'),
    traitsOf,
    parentID(clientName) {
      const known = parents.get(clientName)
      if (known) return known
      const found = findOrCreate(client, clientName, clock).catch((error: unknown) => {
        parents.delete(clientName)
        throw error
      })
      parents.set(clientName, found)
      return found
    },
    forgetParent(clientName) {
      parents.delete(clientName)
    },
    async rules() {
      const { permission = {} } = await answered('config.get', clock, (signal) =>
        client.config.get({ signal }),
      )
      return [...rules, ...rulesOf(permission, (what) => new UsageError(`OpenCode's configuration: ${what}`))]
    },
  }
}

/** Returns the session of a client. Reuses one that an earlier server of this project created. */
async function findOrCreate(client: OpencodeClient, name: string, clock: Clock): Promise<string> {
  const title = `MCP: ${name}`
  const query = { search: title } as object
  const sessions = (await answered('session.list', clock, (signal) =>
    client.session.list({ query, signal }),
  )) as readonly { readonly id: string; readonly metadata?: Readonly<Record<string, unknown>> }[]
  const found = sessions.find(({ metadata }) => metadata?.[KEY] === name)
  if (found) return found.id
  // The types lack metadata, which the server stores (contract 3.1).
  const body = { title, metadata: { [KEY]: name } } as object
  return (await answered('session.create', clock, (signal) => client.session.create({ body, signal }))).id
}

async function answered<Data>(
  name: string,
  clock: Clock,
  call: (signal: AbortSignal) => Promise<{ data?: Data | undefined; error?: unknown; response?: Response }>,
): Promise<Data> {
  const limit = new AbortController()
  const stopTimer = clock.after(CALL_LIMIT_MS, () =>
    limit.abort(new Error(`it did not answer within ${CALL_LIMIT_MS} ms`)),
  )
  const { data, error, response } = await call(limit.signal)
    .catch((reason: unknown) => {
      throw new HostError('noAnswer', `OpenCode could not be reached for ${name}: ${errorText(reason)}`)
    })
    .finally(stopTimer)
  if (response?.status === 401)
    throw new HostError(
      'unauthorized',
      `OpenCode refused ${name}: it has a password, and this server has none or another one. ` +
        'Start it with OPENCODE_SERVER_PASSWORD',
    )
  if (error !== undefined || data === undefined)
    throw new HostError('refused', `OpenCode refused ${name}: ${errorText(error)}`)
  return data
}
