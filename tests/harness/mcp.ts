/** Runs the MCP server as clients do: the built command as a process, driven by the official client over stdio. */
import { Client, type ClientCapabilities } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildPlugin } from './plugin.ts'
import { isAlive } from './processes.ts'

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
  /** Closes the connection; resolves when the server has ended. */
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
  const pid = transport.pid as number
  return {
    client,
    pid,
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
    async close() {
      await client.close()
      // The client waits for at most 4 s, and not for the end of a server that it has killed then.
      while (isAlive(pid)) await sleep(10)
    },
  }
}

/** An MCP server that is driven line by line, as no library would. */
export interface RawMcp {
  readonly pid: number
  /** Sends a line, and resolves with the next one that the server writes. */
  readonly exchange: (line: string) => Promise<Record<string, unknown>>
  /** Sends a request, and resolves with its response. */
  readonly request: (method: string, params?: object) => Promise<Record<string, unknown>>
  /** Sends a notification. */
  readonly notify: (method: string, params: object) => void
  /** The notifications so far. */
  readonly notifications: readonly Record<string, unknown>[]
  /** Ends its input; resolves with its exit code. */
  readonly close: () => Promise<number | null>
}

export async function startRawMcp(place: McpPlace, args: readonly string[] = []): Promise<RawMcp> {
  const child = spawn(process.execPath, [await commandPath(), 'mcp', ...args], {
    cwd: place.root,
    env: { ...process.env, XDG_STATE_HOME: place.state },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const notifications: Record<string, unknown>[] = []
  const waiting: { readonly id?: number; readonly resolve: (message: Record<string, unknown>) => void }[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line) as Record<string, unknown>
    const index = waiting.findIndex(({ id }) => id === undefined || id === message['id'])
    if (message['method'] !== undefined || index === -1) notifications.push(message)
    else waiting.splice(index, 1)[0]?.resolve(message)
  })
  let newest = 0
  return {
    pid: child.pid ?? 0,
    notifications,
    exchange: (line) =>
      new Promise((resolve) => {
        waiting.push({ resolve })
        child.stdin.write(`${line}\n`)
      }),
    request: (method, params = {}) =>
      new Promise((resolve) => {
        newest += 1
        waiting.push({ id: newest, resolve })
        child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: newest, method, params })}\n`)
      }),
    notify: (method, params) => {
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`)
    },
    close: () => {
      child.stdin.end()
      return exited
    },
  }
}
