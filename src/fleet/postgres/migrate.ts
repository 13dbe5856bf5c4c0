/**
 * Turns a database into the queue of a fleet. Only the administrator runs it, because it creates roles, and functions that run as
 * their owner; no launcher and no worker may do that.
 */
import { Client } from 'pg'
import { getConstructionPlans } from 'pg-boss'
import { UsageError } from '../../usage-error.ts'
import { PROTOCOL } from '../port.ts'
import { explained } from './database.ts'
import { FUNCTIONS } from './functions.ts'
import { CLAIMS_LOCKED, HELD, QUEUE, QUEUE_SCHEMA } from './sql-terms.ts'
import { ROLES, SCHEMA_VERSION, TABLES } from './tables.ts'

/** A limit on agents at work: `total`, `provider` or `model`. */
export interface Limit {
  readonly scope: 'total' | 'provider' | 'model'
  /** A provider, or `provider/model`; '' for the total. */
  readonly key: string
  /** Absent: no limit. */
  readonly most?: number
}

/** Settings that an administrator changes. `migrate` leaves an absent one unchanged. */
export interface FleetSettings {
  readonly limits?: readonly Limit[]
  /** How long a worker owns its jobs after a sign of life. */
  readonly leaseMs?: number
}

/** Resolves with whether something was created or replaced. Does nothing to a database that is up to date, but for the settings. */
export async function migrate(url: string, { limits = [], leaseMs }: FleetSettings = {}): Promise<boolean> {
  const client = new Client({ connectionString: url })
  try {
    await client.connect()
    await client.query('begin')
    // Concurrent migrations wait for each other.
    await client.query(`select pg_advisory_xact_lock(hashtextextended('fleet.migrate', 0))`)
    const version = await versionOf(client)
    if (version !== undefined && version > SCHEMA_VERSION)
      throw new UsageError(
        `the database has version ${version} of the fleet, and this opencode-background has version ${SCHEMA_VERSION}: install at least that one's version`,
      )
    const isCurrent = version === SCHEMA_VERSION
    if (version === undefined) await create(client)
    else if (!isCurrent) await replaceFunctions(client)
    for (const { scope, key, most } of limits) {
      await client.query('delete from fleet.cap where scope = $1 and key = $2', [scope, key])
      if (most !== undefined)
        await client.query('insert into fleet.cap values ($1, $2, $3)', [scope, key, most])
    }
    if (leaseMs !== undefined) await setLease(client, leaseMs)
    await client.query('commit')
    return !isCurrent
  } catch (error) {
    throw error instanceof UsageError ? error : explained(error, url)
  } finally {
    // Ends the transaction of a failed migration, too.
    await client.end().catch(() => {})
  }
}

/** Workers measure the lease of a job by what its claim has said: a change must not meet one. */
async function setLease(client: Client, leaseMs: number): Promise<void> {
  await client.query(CLAIMS_LOCKED)
  const { rowCount } = await client.query(`select from fleet.job where phase in ${HELD} limit 1`)
  if (rowCount !== 0)
    throw new UsageError(
      'the lease cannot change while agents are at work: drain the workers (SIGTERM) first, or wait until `fleet status` shows none at work',
    )
  await client.query('update fleet.setting set lease_ms = $1', [leaseMs])
}

async function versionOf(client: Client): Promise<number | undefined> {
  const { rows: found } = await client.query<{ there: boolean }>(
    `select to_regclass('fleet.setting') is not null as there`,
  )
  if (found[0]?.there !== true) return undefined
  return (await client.query<{ version: number }>('select version from fleet.setting')).rows[0]?.version
}

async function create(client: Client): Promise<void> {
  await client.query(ROLES)
  await client.query('set local role fleet_owner')
  await client.query(withoutTransaction(getConstructionPlans(QUEUE_SCHEMA)))
  // Our functions alone end jobs, so that pg-boss neither repeats nor expires one.
  const options = JSON.stringify({ policy: 'standard', retryLimit: 0, deleteAfterSeconds: 0 })
  await client.query(`select ${QUEUE_SCHEMA}.create_queue($1, $2::jsonb)`, [QUEUE, options])
  await client.query(TABLES)
  await client.query(FUNCTIONS)
  await client.query('reset role')
}

/** Every version so far has the same tables. */
async function replaceFunctions(client: Client): Promise<void> {
  await client.query('set local role fleet_owner')
  await client.query(FUNCTIONS)
  await client.query('update fleet.setting set version = $1, protocol = $2', [SCHEMA_VERSION, PROTOCOL])
  await client.query('reset role')
}

/** pg-boss's plan is a transaction of its own; here it is a part of one. */
function withoutTransaction(plan: string): string {
  return plan.replace(/^\s*BEGIN;/, '').replace(/COMMIT;\s*$/, '')
}
