/** The command `opencode-background fleet`: makes a database the queue of a fleet, and sets its limits. */
import { parseArgs } from 'node:util'
import { errorText } from '../host/opencode.ts'
import { UsageError } from '../usage-error.ts'
import { databaseURL } from './database-url.ts'
import { migrate, type Limit } from './postgres/migrate.ts'

const HELP = `opencode-background fleet migrate: makes a database the queue of a fleet, or sets its limits

  --db {env:NAME}     the environment variable with the URL of an administrator of the database (PostgreSQL), or a
                      file that only its owner can read (mode 600)
  --limit total=N     at most N agents at work in the whole fleet; may be repeated, and "none" removes a limit
  --limit provider:NAME=N
  --limit model:PROVIDER/MODEL=N
  --help              show this text
`

const LIMIT = /^(?:(total)|(provider|model):([^=]+))=(none|\d+)$/

/** Resolves with the exit code: 2 for a mistake. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parsed(args)
    if (values.help) {
      process.stdout.write(HELP)
      return 0
    }
    if (positionals.length !== 1 || positionals[0] !== 'migrate')
      throw new UsageError('expected one command: migrate')
    if (values.db === undefined) throw new UsageError('--db is missing: it names the database of the queue')
    const created = await migrate(databaseURL(values.db), values.limit.map(limitOf))
    process.stdout.write(created ? 'the queue was created\n' : 'the queue is up to date\n')
    return 0
  } catch (error) {
    process.stderr.write(`opencode-background fleet: ${errorText(error)}\n`)
    return 2
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        db: { type: 'string' },
        limit: { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(`${errorText(error)} (--help lists the options)`)
  }
}

function limitOf(text: string): Limit {
  const [, total, scope, key = '', most] = LIMIT.exec(text) ?? []
  if (most === undefined)
    throw new UsageError(`--limit ${text}: expected total=N, provider:NAME=N or model:PROVIDER/MODEL=N`)
  return {
    scope: (total ?? scope) as Limit['scope'],
    key,
    ...(most !== 'none' && { most: Number(most) }),
  }
}
