/** The commands about a fleet's database: `opencode-background fleet migrate` and `fleet status`. Loaded by these alone. */
import { FLAG, parsedLine, TEXT, TEXTS, wholeNumber } from '../../command-line.ts'
import { UsageError } from '../../usage-error.ts'
import { databaseURL } from '../database-url.ts'
import { Database } from './database.ts'
import type { Limit } from './migrate.ts'
import { renderStatus, type FleetStatus } from './fleet-status.ts'

const HELP = `opencode-background fleet migrate: makes a database the queue of a fleet, and sets its limits and its lease
opencode-background fleet status: shows the workers, the queue, the limits and the providers that hold back

  --db {env:NAME}         the environment variable with the URL of the database (PostgreSQL), or a file that only
                          its owner can read (default {env:FLEET_DB}). To migrate, its role must be able to
                          create roles
  --limit KEY=N           migrate: at most N agents at work at once; KEY is total, provider:NAME or
                          model:PROVIDER/NAME, N a number or none. May be repeated
  --lease SECONDS         migrate: without a sign of life for so long, a worker's tasks are not its own any more
                          (30 in a new database, at least 5)
  --json                  status: as JSON
  --help                  show this text
`

/** A beat each third of it must have time to be answered, and to be repeated. */
const LEAST_LEASE_S = 5

interface Settings {
  readonly verb: 'migrate' | 'status'
  readonly db: string
  readonly limits: readonly Limit[]
  readonly leaseMs: number | undefined
  readonly json: boolean
}

/** Sets the exit code: 0, 1 if the database did not do it, 2 for a mistake of the caller. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    const settings = parseFleetLine(args)
    process.stdout.write(settings ? await run(settings) : HELP)
  } catch (error) {
    process.stderr.write(`opencode-background fleet: ${(error as Error).message}\n`)
    // By its name: each bundle has a class of its own.
    process.exitCode = (error as Error).name === 'UsageError' ? 2 : 1
  }
}

async function run({ verb, db, limits, leaseMs, json }: Settings): Promise<string> {
  const url = databaseURL(db)
  if (verb === 'migrate') {
    const { migrate } = await import('./migrate.ts')
    const isNew = await migrate(url, { limits, ...(leaseMs !== undefined && { leaseMs }) })
    const done = [isNew ? 'The database is the queue of a fleet now.' : 'The database is up to date.']
    if (limits.length > 0) done.push('The limits are set.')
    if (leaseMs !== undefined) done.push(`The lease is ${leaseMs / 1000} s.`)
    return `${done.join(' ')}\n`
  }
  const status = await readStatus(url)
  return json ? `${JSON.stringify(status, undefined, 2)}\n` : renderStatus(status)
}

async function readStatus(url: string): Promise<FleetStatus> {
  const database = new Database(url)
  try {
    const [row] = await database.rows<{ status: FleetStatus }>('select fleet.status() as status')
    return (row as { status: FleetStatus }).status
  } finally {
    await database.close()
  }
}

/** Returns the settings; `undefined` if the help is wanted. Throws a `UsageError` for a mistake. */
export function parseFleetLine(args: readonly string[]): Settings | undefined {
  const { values, positionals } = parsedLine({
    args: [...args],
    allowPositionals: true,
    options: { db: TEXT, limit: TEXTS, lease: TEXT, json: FLAG, help: FLAG },
  })
  if (values.help) return undefined
  const [verb, ...more] = positionals
  if ((verb !== 'migrate' && verb !== 'status') || more.length > 0)
    throw new UsageError('say what to do: fleet migrate, or fleet status; --help lists the options')
  const { db = '{env:FLEET_DB}', limit = [], json = false } = values
  for (const [name, isGiven] of Object.entries({
    limit: limit.length > 0,
    lease: values.lease !== undefined,
  }))
    if (verb === 'status' && isGiven) throw new UsageError(`--${name} is for fleet migrate`)
  const lease = { least: LEAST_LEASE_S, mostDigits: 5, unit: 'seconds' }
  const leaseMs = values.lease === undefined ? undefined : wholeNumber('lease', values.lease, lease) * 1000
  return { verb, db, limits: limit.map(limitOf), leaseMs, json }
}

function limitOf(text: string): Limit {
  const [, scope, key = '', most] = /^(total|provider|model)(?::(.+))?=(\d{1,9}|none)$/.exec(text) ?? []
  const isNamed = key !== ''
  if (most === undefined || isNamed === (scope === 'total') || (scope === 'model' && !key.includes('/')))
    throw new UsageError(
      `--limit ${JSON.stringify(text)} is none: expected total=12, provider:NAME=5, model:PROVIDER/NAME=2, or =none`,
    )
  return { scope: scope as Limit['scope'], key, ...(most !== 'none' && { most: Number(most) }) }
}
