/** Runs the MCP server over standard input and output: `opencode-background mcp`. Loaded by this command alone. */
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { systemClock } from '../clock.ts'
import type { OptionsInput } from '../config.ts'
import type { Log } from '../host/log.ts'
import { BackgroundManager } from '../manager.ts'
import { systemOwners } from '../task/owner.ts'
import { thisMachine } from '../work/command/this-machine.ts'
import { attach } from './attached.ts'
import { checkedInput } from './checked-input.ts'
import { HELP, parseCommandLine } from './command-line.ts'
import { localSessions, parentOf } from './local-sessions.ts'
import type { Rule } from './permission-rules.ts'
import { UsageError } from '../usage-error.ts'
import { createServer } from './server.ts'
import { traitsOf } from '../work/kinds.ts'
import { waitGuidance } from './wait-guidance.ts'
import { offersOf } from './tools.ts'
import type { Workplace } from './workplace.ts'

/** The manager's name. All MCP servers share it, so that each recovers the commands of an earlier one of its root. */
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
  { root, rules, keep, debug, attachTo, options }: NonNullable<ReturnType<typeof parseCommandLine>>,
  version: string,
): void {
  const log = errorLog(debug)
  const now = (): number => systemClock.now()
  const commands = commandsAt(root, { log, now, rules, options, keep })
  const agents =
    attachTo === undefined
      ? undefined
      : attach(attachTo, { name: NAME, root, options, rules, clock: systemClock })
  const workplaces: readonly [Workplace, ...Workplace[]] = agents ? [commands, agents] : [commands]
  const service = {
    version,
    root,
    workplaces,
    offers: offersOf(commands, agents),
    onError: (message: string) => log.warn(message),
  }
  const input = checkedInput(process.stdin, (line) => process.stdout.write(line))
  const handle = serveStdio(({ era }) => createServer(service, era), {
    transport: new StdioServerTransport(input),
    onerror: ({ message }) => log.debug(message),
  })
  let isClosing = false
  const close = async (): Promise<void> => {
    if (isClosing) return
    isClosing = true
    await Promise.all(workplaces.map(({ manager }) => (keep ? manager.detach() : manager.dispose())))
    await handle.close()
    process.exit(0)
  }
  input.once('end', () => void close())
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void close())
}

interface CommandPorts {
  readonly log: Log
  readonly now: () => number
  readonly rules: readonly Rule[]
  readonly options: OptionsInput
  readonly keep: boolean
}

/** Returns the workplace for the commands of a root. It needs no OpenCode. */
function commandsAt(root: string, { log, now, rules, options, keep }: CommandPorts): Workplace {
  const machine = keep ? { ...thisMachine, onTermination: () => () => {} } : thisMachine
  const opencode = localSessions(root, { log, commands: thisMachine.root, now })
  const manager = new BackgroundManager(
    // `localSessions` replaces the client.
    { name: NAME, client: undefined as never, directory: root, options },
    { opencode, clock: systemClock, log, owners: systemOwners(NAME, root), machine, isRun: false },
  )
  return {
    manager,
    now,
    monotonic: () => systemClock.monotonic(),
    guidance: waitGuidance(manager.toolNames, 'commands'),
    traitsOf,
    parentID: () => Promise.resolve(parentOf(root)),
    // Nothing deletes the session of a root.
    forgetParent: () => {},
    rules: () => Promise.resolve(rules),
  }
}

/** Returns a log on standard error, because standard output belongs to the protocol. */
function errorLog(debug: boolean): Log {
  const write = (message: string): void => {
    process.stderr.write(`[BG-DEBUG ${new Date().toISOString().slice(11, 23)}] ${message}\n`)
  }
  return { debug: debug ? write : () => {}, warn: write }
}
