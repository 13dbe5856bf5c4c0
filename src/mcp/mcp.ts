/** Runs the MCP server over standard input and output: `opencode-background mcp`. Loaded by this command alone. */
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { systemClock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { BackgroundManager } from '../manager.ts'
import { systemOwners } from '../task/owner.ts'
import { thisMachine } from '../work/command/machine.ts'
import { checkedInput } from './checked-input.ts'
import { HELP, parseCommandLine } from './command-line.ts'
import { localSessions, parentOf } from './local-sessions.ts'
import { UsageError } from './permissions.ts'
import { createServer } from './server.ts'
import { byAsking } from './telling.ts'
import { commandTools } from './tools.ts'

/** The name of the manager: one MCP server finds the commands of another of the same root. */
const NAME = 'opencode-background mcp'

/** @param version of the package */
export function main(args: readonly string[], version: string): void {
  try {
    const settings = parseCommandLine(args)
    if (settings) serve(settings, version)
    else process.stdout.write(HELP)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(
      `opencode-background mcp: ${error.message}\nopencode-background mcp --help lists the options.\n`,
    )
    process.exitCode = 2
  }
}

function serve(
  { root, rules, keep, debug, options }: NonNullable<ReturnType<typeof parseCommandLine>>,
  version: string,
): void {
  const log = errorLog(debug)
  const machine = keep ? { ...thisMachine, onTermination: () => () => {} } : thisMachine
  const now = (): number => systemClock.now()
  const opencode = localSessions(root, { log, commands: thisMachine.root, now })
  const manager = new BackgroundManager(
    { name: NAME, client: undefined as never, directory: root, options },
    { opencode, clock: systemClock, log, owners: systemOwners(NAME, root), machine, isRun: false },
  )
  const ports = { manager, now, telling: byAsking(manager.toolNames) }
  const service = {
    manager,
    version,
    parentID: parentOf(root),
    root,
    rules,
    offers: commandTools(ports),
    now,
    onError: (message: string) => log.warn(message),
  }
  const input = checkedInput(process.stdin, (line) => process.stdout.write(line))
  const handle = serveStdio(() => createServer(service), {
    transport: new StdioServerTransport(input),
    onerror: ({ message }) => log.debug(message),
  })
  let isClosing = false
  const close = async (): Promise<void> => {
    if (isClosing) return
    isClosing = true
    await (keep ? manager.detach() : manager.dispose())
    await handle.close()
    process.exit(0)
  }
  input.once('end', () => void close())
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void close())
}

/** Standard output belongs to the protocol. */
function errorLog(debug: boolean): Log {
  const write = (message: string): void => {
    process.stderr.write(`[BG-DEBUG ${new Date().toISOString().slice(11, 23)}] ${message}\n`)
  }
  return { debug: debug ? write : () => {}, warn: write }
}
