/** Finds the session of a program beside OpenCode, under which its tasks are, or creates it. */
import type { OpencodeClient } from '@opencode-ai/sdk/client'
import type { Clock } from '../clock.ts'
import { errorText, HostError } from './opencode.ts'

export interface SessionName {
  readonly title: string
  /** The key in the session's metadata whose value is `name`. */
  readonly key: string
  readonly name: string
}

/** Time limit of a call, because a server that hangs would otherwise block it for ever. */
const CALL_LIMIT_MS = 15_000

/** Returns the session with this name. Reuses one that an earlier process has created. Rejects with a `HostError`. */
export async function namedSession(
  client: OpencodeClient,
  { title, key, name }: SessionName,
  clock: Clock,
): Promise<string> {
  const query = { search: title } as object
  const sessions = (await answered('session.list', clock, (signal) =>
    client.session.list({ query, signal }),
  )) as readonly { readonly id: string; readonly metadata?: Readonly<Record<string, unknown>> }[]
  const found = sessions.find(({ metadata }) => metadata?.[key] === name)
  if (found) return found.id
  // The types lack metadata, which the server stores (contract 3.1).
  const body = { title, metadata: { [key]: name } } as object
  return (await answered('session.create', clock, (signal) => client.session.create({ body, signal }))).id
}

/** Calls OpenCode within a time limit, and returns the data of its answer. Rejects with a `HostError`. */
export async function answered<Data>(
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
