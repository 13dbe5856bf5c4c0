/** The command line of `opencode-background mcp`. */
import { FLAG, parsedLine, realDirectory, TEXT, TEXTS, wholeNumber } from '../command-line.ts'
import type { OptionsInput } from '../config.ts'
import { serverURL } from '../host/server-address.ts'
import { readRules, type Rule } from './permission-rules.ts'

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
  const { values } = parsedLine({
    args: [...args],
    options: {
      root: TEXT,
      allow: TEXTS,
      deny: TEXTS,
      config: TEXT,
      keep: FLAG,
      attach: TEXT,
      agents: TEXT,
      'permission-timeout-ms': TEXT,
      concurrency: TEXT,
      'timeout-ms': TEXT,
      'max-output-bytes': TEXT,
      'max-total-bytes': TEXT,
      'kill-grace-ms': TEXT,
      debug: FLAG,
      help: FLAG,
    },
  })
  if (values.help) return undefined
  const number = (name: keyof typeof LEAST): number | undefined => {
    const text = values[name]
    return text === undefined ? undefined : wholeNumber(name, text, { least: LEAST[name] })
  }
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
  return {
    root: realDirectory('root', root),
    rules,
    attachTo: serverURL(values.attach),
    keep,
    debug,
    options,
  }
}
