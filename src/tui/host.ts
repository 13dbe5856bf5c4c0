/** The terminal UI's calls to OpenCode, which may run on another machine. A failed call rejects. */
import type { TuiPluginApi } from '@opencode-ai/plugin/tui'
import type { Message, Part, PermissionRequest, Session, SessionStatus } from '@opencode-ai/sdk/v2'
import { errorText } from '../host/opencode.ts'

type Reply = 'once' | 'always' | 'reject'
type Metadata = Readonly<Record<string, unknown>>

export interface StoredMessage {
  readonly info: Message
  readonly parts: readonly Part[]
}

export interface Host {
  session(sessionID: string): Promise<Session>
  children(sessionID: string): Promise<readonly Session[]>
  /**
   * Returns the status of each session that is not idle.
   *
   * @param others directories to query besides our own, because each has an instance of its own (contract 9.1)
   */
  statuses(others: readonly string[]): Promise<Readonly<Record<string, SessionStatus>>>
  permissions(others: readonly string[]): Promise<readonly PermissionRequest[]>
  messages(sessionID: string): Promise<readonly StoredMessage[]>
  /** Replaces the whole object. */
  replaceMetadata(sessionID: string, metadata: Metadata): Promise<void>
  abort(sessionID: string): Promise<void>
  /** Runs a command in the terminal UIs of a directory; the server part of the plugin receives it too. */
  publishCommand(command: string, directory: string): Promise<void>
  /** @param directory the directory of the request's session; `undefined` for our own (contract 17.2) */
  reply(requestID: string, reply: Reply, directory: string | undefined): Promise<void>
}

export function hostOf({ client }: Pick<TuiPluginApi, 'client'>): Host {
  return {
    session: (sessionID) => unwrap(client.session.get({ sessionID })),
    children: (sessionID) => unwrap(client.session.children({ sessionID })),
    async statuses(others) {
      const found = await Promise.all(at(others).map((each) => unwrap(client.session.status(each))))
      return Object.assign({}, ...found) as Record<string, SessionStatus>
    },
    async permissions(others) {
      return (await Promise.all(at(others).map((each) => unwrap(client.permission.list(each))))).flat()
    },
    messages: (sessionID) => unwrap(client.session.messages({ sessionID })),
    async replaceMetadata(sessionID, metadata) {
      await unwrap(client.session.update({ sessionID, metadata }))
    },
    async abort(sessionID) {
      await unwrap(client.session.abort({ sessionID }))
    },
    async publishCommand(command, directory) {
      const body = { type: 'tui.command.execute' as const, properties: { command } }
      await unwrap(client.tui.publish({ directory, body }))
    },
    async reply(requestID, reply, directory) {
      await unwrap(
        client.permission.reply({ requestID, reply, ...(directory !== undefined && { directory }) }),
      )
    },
  }
}

/** Returns the parameters of a call for each directory; none for our own, because the client adds it. */
function at(others: readonly string[]): readonly { readonly directory?: string }[] {
  return [{}, ...others.map((directory) => ({ directory }))]
}

async function unwrap<Data>(call: Promise<{ data?: Data | undefined; error?: unknown }>): Promise<Data> {
  const { data, error } = await call
  if (error !== undefined) throw new Error(errorText(error))
  if (data === undefined) throw new Error('OpenCode did not answer')
  return data
}
