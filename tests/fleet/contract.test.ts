/** The contract of the port, on a real PostgreSQL. */
import { afterAll, beforeAll, describe } from 'vitest'
import type { Jobs } from '../../src/fleet/launcher/jobs.ts'
import type { FleetLimits } from '../../src/fleet/port.ts'
import type { Limit } from '../../src/fleet/postgres/migrate.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { fleetContract } from '../fleet-contract/contract.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

const OWNERS = ['ann', 'bob']
let postgres: Postgres

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

describe('the queue in PostgreSQL', () => {
  fleetContract(async (times, limits) => {
    const database = await makeFleetDatabase(postgres, { times, limits: limitsOf(limits), launchers: OWNERS })
    const owners = new Map(
      await Promise.all(OWNERS.map(async (owner) => [owner, await openJobs(database.url(owner))] as const)),
    )
    const claims = await openClaims(database.url(WORKER))
    let watched = 0
    const watching = <Part extends Pick<Jobs, 'watch'>>(part: Part): Part => ({
      ...part,
      watch(onChange, signal) {
        watched += 1
        part.watch(onChange, signal)
      },
    })
    const launchers = new Map(
      [...owners].map(([owner, jobs]) => [
        owner,
        {
          ...watching(jobs),
          // The cases offer at once what a watcher is to be told.
          offer: async (job) => {
            await listening(database, watched)
            await jobs.offer(job)
          },
        } satisfies Jobs,
      ]),
    )
    return {
      fleet: { launcher: (owner) => launchers.get(owner) as Jobs, claims: watching(claims) },
      pass: (ms) => pass(database, ms),
      async close() {
        for (const part of [...owners.values(), claims]) await part.close()
      },
    }
  })
})

function limitsOf({ total, providers, models }: FleetLimits): Limit[] {
  return [
    { scope: 'total', key: '', most: total },
    ...Object.entries(providers).map(([key, most]) => ({ scope: 'provider', key, most }) as const),
    ...Object.entries(models).map(([key, most]) => ({ scope: 'model', key, most }) as const),
  ]
}

async function listening(database: FleetDatabase, most: number): Promise<void> {
  for (;;) {
    const rows = await database.ask(
      `select from pg_stat_activity where datname = current_database() and query like 'listen%' and state = 'idle'`,
    )
    if (rows.length >= most) return
  }
}

/** Moves all moments of a database into the past, and has it notice. */
async function pass(database: FleetDatabase, ms: number): Promise<void> {
  const moments = await database.ask<{ at: string; of: string }>(
    `select column_name as at, table_name as of from information_schema.columns
      where table_schema = 'fleet' and data_type = 'timestamp with time zone'`,
  )
  for (const { at, of } of moments)
    await database.ask(`update fleet.${of} set ${at} = ${at} - interval '${ms} ms' where ${at} is not null`)
  await database.ask('select fleet.sweep()')
}
