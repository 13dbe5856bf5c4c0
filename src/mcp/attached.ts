/** Offers the agents of a running OpenCode to MCP clients, for the option `--attach`. */
import { createOpencodeClient } from '@opencode-ai/sdk/client'
import type { Clock } from '../clock.ts'
import type { OptionsInput } from '../config.ts'
import { answered, namedSession } from '../host/named-session.ts'
import { BackgroundManager } from '../manager.ts'
import { authorization } from '../host/server-address.ts'
import { UsageError } from '../usage-error.ts'
import { rulesOf, type Rule } from './permission-rules.ts'
import { traitsOf } from '../work/kinds.ts'
import { waitGuidance } from './wait-guidance.ts'
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
    guidance: waitGuidance(manager.toolNames, 'agents'),
    traitsOf,
    parentID(clientName) {
      const known = parents.get(clientName)
      if (known) return known
      const found = namedSession(
        client,
        { title: `MCP: ${clientName}`, key: KEY, name: clientName },
        clock,
      ).catch((error: unknown) => {
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
