/** Runs the MCP server as clients do: the built command as a process, driven by the official client over stdio. */
import { Client, type ClientCapabilities } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buildPlugin } from './plugin.ts'

/** The revision of MCP of 2026, which has no handshake; `legacy` is that of 2025. */
export type Era = 'legacy' | 'modern'

/** A place for MCP servers: a project, and the state that they share. */
export interface McpPlace {
  readonly root: string
  readonly state: string
  readonly remove: () => void
}

export function createPlace(): McpPlace {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'mcp-')))
  const [root, state] = [join(path, 'project'), join(path, 'state')]
  mkdirSync(root)
  return { root, state, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export interface McpOptions {
  readonly args?: readonly string[]
  readonly era?: Era
  readonly capabilities?: ClientCapabilities
  /** Called before the connection. */
  readonly prepare?: (client: Client) => void
}

/** The structured content of an answer, as the tests read it. */
export interface Structured {
  readonly task: { readonly task_id: string; readonly status: string; readonly exit_code?: number }
  readonly tasks: readonly { readonly task_id: string; readonly status: string }[]
  readonly stdout?: { readonly text: string }
  readonly stderr?: { readonly text: string }
}

export interface McpAnswer {
  readonly text: string
  readonly isError: boolean
  readonly structured: Structured
}

export interface Mcp {
  readonly client: Client
  readonly pid: number
  /** What the server has written to standard error. */
  readonly stderr: () => string
  readonly call: (name: string, input?: Record<string, unknown>) => Promise<McpAnswer>
  /** Closes the connection; the server ends by itself. */
  readonly close: () => Promise<void>
}

/** Resolves with the path of the built command. */
export async function commandPath(): Promise<string> {
  return join(dirname(await buildPlugin()), 'command.js')
}

export async function startMcp(place: McpPlace, options: McpOptions = {}): Promise<Mcp> {
  const { args = [], era = 'modern', capabilities = {}, prepare } = options
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [await commandPath(), 'mcp', ...args],
    cwd: place.root,
    env: { ...(process.env as Record<string, string>), XDG_STATE_HOME: place.state },
    stderr: 'pipe',
  })
  let stderr = ''
  transport.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const mode = era === 'legacy' ? 'legacy' : { pin: '2026-07-28' }
  const client = new Client({ name: 'tests', version: '1' }, { capabilities, versionNegotiation: { mode } })
  prepare?.(client)
  await client.connect(transport)
  return {
    client,
    pid: transport.pid ?? 0,
    stderr: () => stderr,
    async call(name, input = {}) {
      const { content, isError, structuredContent } = await client.callTool({ name, arguments: input })
      const [block] = content
      return {
        text: block?.type === 'text' ? block.text : '',
        isError: isError === true,
        structured: structuredContent as Structured,
      }
    },
    close: () => client.close(),
  }
}
