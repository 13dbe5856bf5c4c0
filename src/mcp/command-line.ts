/** The command line of `opencode-background mcp`. */
import { realpathSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { OptionsInput } from '../config.ts'
import { serverURL } from '../host/server-address.ts'
import { UsageError } from '../usage-error.ts'
import { readRules, type Rule } from './permissions.ts'

export const HELP = `opencode-background mcp: background commands for any MCP client, over stdio

  --root DIR              commands may start only within this directory (default: the working directory)
  --allow PATTERN         commands that may run; the user is asked about the others. May be repeated
  --deny PATTERN          commands that are refused. May be repeated
  --config FILE           an opencode.json, whose "permission" is read too
  --attach URL            also hand work to agents of the OpenCode server at this URL, with the password of
                          OPENCODE_SERVER_PASSWORD
  --agents N              agents at work at once (default 10)
  --permission-timeout-ms MS  how long a permission request of an agent may stay unanswered before it is
                          rejected (default 60000; 0: never)
  --keep                  leave commands running when the client closes the connection
  --concurrency N         running commands at once (default 10)
  --timeout-ms MS         time limit of a command without one of its own (default 300000; 0: none)
  --max-output-bytes N    output of one command; beyond it the command is killed (default 1 GB)
  --max-total-bytes N     size of all output files; beyond it the oldest are removed (default 5 GB)
  --kill-grace-ms MS      time between SIGTERM and SIGKILL (default 5000)
  --debug                 write a log to standard error
  --help                  show this text
`

/** Default time after which an agent's permission request is rejected, because the client cannot answer it. */
const PERMISSION_TIMEOUT_MS = 60_000

/** The minimum of each number, as in the options of the plugin. */
const LEAST = {
  concurrency: 1,
  agents: 1,
  'permission-timeout-ms': 0,
  'timeout-ms': 0,
  'max-output-bytes': 1024,
  'max-total-bytes': 1024,
  'kill-grace-ms': 0,
} as const

export interface Settings {
  /** An absolute real path. */
  readonly root: string
  readonly rules: readonly Rule[]
  /** The URL of an OpenCode server. */
  readonly attachTo: string | undefined
  readonly keep: boolean
  readonly debug: boolean
  readonly options: OptionsInput
}

/** Returns the settings; `undefined` if the help is wanted. Throws a `UsageError` for a mistake. */
export function parseCommandLine(args: readonly string[]): Settings | undefined {
  const values = valuesOf(args)
  if (values.help) return undefined
  const number = (name: keyof typeof LEAST): number | undefined => numberOf(name, values[name])
  const options: OptionsInput = {
    concurrency: { commands: number('concurrency'), total: number('agents') },
    commands: {
      timeoutMs: number('timeout-ms'),
      maxOutputBytes: number('max-output-bytes'),
      maxTotalBytes: number('max-total-bytes'),
      killGraceMs: number('kill-grace-ms'),
    },
    notify: { wake: 'never' },
    permissionTimeoutMs: number('permission-timeout-ms') ?? PERMISSION_TIMEOUT_MS,
  }
  const { allow = [], deny = [], config, root = '.', keep = false, debug = false } = values
  const rules = readRules({ allow, deny, config })
  return { root: realRoot(root), rules, attachTo: serverURL(values.attach), keep, debug, options }
}

function valuesOf(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        root: text,
        allow: { ...text, multiple: true },
        deny: { ...text, multiple: true },
        config: text,
        keep: flag,
        attach: text,
        agents: text,
        'permission-timeout-ms': text,
        concurrency: text,
        'timeout-ms': text,
        'max-output-bytes': text,
        'max-total-bytes': text,
        'kill-grace-ms': text,
        debug: flag,
        help: flag,
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function numberOf(name: keyof typeof LEAST, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d+$/.test(text) && Number(text) >= LEAST[name]) return Number(text)
  throw new UsageError(
    `--${name} must be a whole number of at least ${LEAST[name]}, and not ${JSON.stringify(text)}`,
  )
}

function realRoot(root: string): string {
  try {
    const path = realpathSync(root)
    if (statSync(path).isDirectory()) return path
  } catch (error) {
    throw new UsageError(`--root: ${root} cannot be used: ${(error as Error).message}`)
  }
  throw new UsageError(`--root: ${root} is not a directory`)
}
