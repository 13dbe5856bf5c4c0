/** Verbs that meet on one job in PostgreSQL: the order is held by a lock, and seen in `pg_locks`. */
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from 'vitest'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { HandWorker, offerOf, stateOf, workerOf } from '../fleet-contract/fleet-under-test.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

let postgres: Postgres
let database: FleetDatabase
let jobs: Awaited<ReturnType<typeof openJobs>>
let claims: Awaited<ReturnType<typeof openClaims>>
let blocker: Client

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  database = await makeFleetDatabase(postgres)
  jobs = await openJobs(database.url('desk'))
  claims = await openClaims(database.url(WORKER))
  blocker = new Client({ connectionString: database.url() })
  await blocker.connect()
})
afterEach(async () => {
  await blocker.end()
  await jobs.close()
  await claims.close()
})

/** Resolves when so many calls wait for a lock. */
async function waiting(calls: number): Promise<void> {
  await expect
    .poll(() =>
      database.ask(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      ),
    )
    .toHaveLength(calls)
}

test('an end that comes while the next process of its worker claims stays the end', async () => {
  await jobs.offer(offerOf('a.1'))
  const one = new HandWorker(claims, workerOf('one'))
  const claim = await one.claim()
  await one.beat(claim)
  // The settlement has the row, and cannot commit: it waits to write the row of pg-boss.
  await blocker.query('begin')
  await blocker.query('select from fleet_queue.job for update')
  const settled = claims.settle(claim, { type: 'result', result: { text: 'done' } })
  await waiting(1)
  const next = new HandWorker(claims, workerOf('one', { process: 'one-2' }))
  const asked = next.ask()
  await waiting(2)
  await blocker.query('commit')
  expect(await settled).toBe(true)
  expect(await asked).toEqual({ type: 'none' })
  expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: { text: 'done' } })
})

test('a beat and a claim of one worker that meet do not wait for each other', async () => {
  await jobs.offer(offerOf('a.1'))
  const one = new HandWorker(claims, workerOf('one'))
  const claim = await one.claim()
  await one.beat(claim)
  // The beat stops while it has the row of the job; the claim has the row of the worker, and waits for the job.
  await blocker.query(`
    create function fleet.pause() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
    create trigger pause after update on fleet.job for each row when (new.report is not null)
      execute function fleet.pause();
    grant execute on function fleet.pause() to fleet_owner`)
  await blocker.query('begin')
  await blocker.query('select pg_advisory_xact_lock(1)')
  const beat = one.beat(claim, { report: { doing: 'work' } })
  await waiting(1)
  one.holding = []
  const asked = one.ask()
  await waiting(2)
  await blocker.query('commit')
  expect(await beat).toMatchObject({ type: 'held' })
  expect(await asked).toEqual({ type: 'none' })
})
