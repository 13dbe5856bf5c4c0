/** The command line of `opencode-background worker`. */
import { hostname } from 'node:os'
import { FLAG, parsedLine, realDirectory, TEXT, wholeNumber } from '../../command-line.ts'
import { serverURL } from '../../host/server-address.ts'
import { UsageError } from '../../usage-error.ts'

export const HELP = `opencode-background worker: runs agents for a fleet, beside an OpenCode server

  --db {env:NAME}         the environment variable with the URL of the queue's database (PostgreSQL), or a file
                          that only its owner can read (mode 600)
  --url URL               the OpenCode server (default http://127.0.0.1:4096), with the password of
                          OPENCODE_SERVER_PASSWORD
  --directory DIR         a clone of the project (default: the working directory)
  --remote NAME           the remote of this clone from which missing commits are fetched (default: none)
  --name NAME             the worker's name, unique in the fleet (default: the name of this machine)
  --labels A,B            what this worker has, such as gpu: a task can ask for it
  --slots N               agents at work at once (default 2)
  --setup COMMAND         command line that runs in each new worktree, as "npm ci --prefer-offline"
  --trees DIR             contains the worktrees (default: $XDG_STATE_HOME/opencode-background/worktrees)
  --drain-timeout SECONDS how long SIGTERM waits for the agents at work; the worker's next start takes over the others (default 600)
  --permission-timeout SECONDS
                          how long a question of an agent for a permission may stay unanswered before it is
                          rejected (default 60; 0: for ever)
  --debug                 write what happens to standard error
  --help                  show this text
`

export interface WorkerSettings {
  /** As given: `{env:NAME}` or a path. */
  readonly db: string
  readonly url: string
  /** An absolute real path. */
  readonly directory: string
  readonly remote: string
  readonly name: string
  readonly labels: readonly string[]
  readonly slots: number
  readonly setup: string
  readonly trees: string
  readonly drainTimeoutMs: number
  readonly permissionTimeoutMs: number
  readonly debug: boolean
}

const DEFAULT_URL = 'http://127.0.0.1:4096'
/** The defaults and the minima of the numbers. */
const NUMBERS = {
  slots: { usual: 2, least: 1 },
  'drain-timeout': { usual: 600, least: 0 },
  'permission-timeout': { usual: 60, least: 0 },
} as const
const NAME = /^[\w.-]{1,64}$/
const LABEL = /^[\w.:-]{1,64}$/

/** Returns the settings; `undefined` if the help is wanted. Throws a `UsageError` for a mistake. */
export function parseWorkerLine(args: readonly string[]): WorkerSettings | undefined {
  const { values } = parsedLine({
    args: [...args],
    options: {
      db: TEXT,
      url: TEXT,
      directory: TEXT,
      remote: TEXT,
      name: TEXT,
      labels: TEXT,
      slots: TEXT,
      setup: TEXT,
      trees: TEXT,
      'drain-timeout': TEXT,
      'permission-timeout': TEXT,
      debug: FLAG,
      help: FLAG,
    },
  })
  if (values.help) return undefined
  const number = (name: keyof typeof NUMBERS): number => {
    const { usual, least } = NUMBERS[name]
    const text = values[name]
    return text === undefined ? usual : wholeNumber(name, text, { least, mostDigits: 7 })
  }
  const { db, directory = '.', remote = '', setup = '', debug = false } = values
  if (db === undefined)
    throw new UsageError(
      '--db is missing: name the environment variable with the URL of the database, as --db {env:FLEET_DB}',
    )
  const name = values.name ?? hostname()
  if (!NAME.test(name))
    throw new UsageError(
      `--name must be at most 64 letters, digits, ".", "_" and "-", and not ${JSON.stringify(name)}`,
    )
  const labels = (values.labels ?? '').split(',').filter((label) => label !== '')
  for (const label of labels)
    if (!LABEL.test(label)) throw new UsageError(`--labels: ${JSON.stringify(label)} is no label`)
  if (remote !== '' && !NAME.test(remote))
    throw new UsageError(
      `--remote must be the name of a remote of the clone, as origin, and not ${JSON.stringify(remote)}`,
    )
  return {
    db,
    url: serverURL(values.url ?? DEFAULT_URL, '--url'),
    directory: realDirectory('directory', directory),
    remote,
    name,
    labels,
    slots: number('slots'),
    setup,
    trees: values.trees === undefined ? '' : realDirectory('trees', values.trees),
    drainTimeoutMs: number('drain-timeout') * 1000,
    permissionTimeoutMs: number('permission-timeout') * 1000,
    debug,
  }
}
