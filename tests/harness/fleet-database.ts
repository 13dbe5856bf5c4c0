/** A database of a PostgreSQL for one test, with a fleet and its roles. */
import { Client } from 'pg'
import { migrate, type Limit } from '../../src/fleet/postgres/migrate.ts'
import type { FleetTimes } from '../../src/fleet/port.ts'
import { PASSWORD, type Postgres } from './postgres.ts'

let databases = 0

const LAUNCHERS = ['desk', 'lab']
/** The role of the workers. */
export const WORKER = 'worker'

export interface FleetDatabase {
  readonly name: string
  /** The URL for a role; default: the administrator. */
  url(role?: string): string
  /** Resolves with the rows of a query. */
  ask<Row>(query: string, role?: string): Promise<Row[]>
}

/** Makes a database with a fleet. Short times are for tests that wait for them. */
export async function makeFleetDatabase(
  postgres: Postgres,
  settings: {
    readonly limits?: readonly Limit[]
    readonly times?: Partial<FleetTimes>
    /** The roles that launch. */
    readonly launchers?: readonly string[]
  } = {},
): Promise<FleetDatabase> {
  const { limits = [], times = {}, launchers = LAUNCHERS } = settings
  databases += 1
  const name = `fleet_${databases}`
  const database: FleetDatabase = {
    name,
    url: (role) => postgres.url(name, role),
    async ask<Row>(query: string, role?: string) {
      return askAt<Row>(postgres.url(name, role), query)
    },
  }
  await askAt(postgres.url('postgres'), `create database ${name}`)
  await migrate(database.url(), { limits })
  const roles = [...launchers.map((role) => [role, 'launcher']), [WORKER, 'worker']]
  for (const [role, group] of roles)
    await database.ask(`do $$ begin
      if not exists (select from pg_roles where rolname = '${role}') then
        create role ${role} login password '${PASSWORD}' in role fleet_${group};
      end if; end $$`)
  const columns = { leaseMs: 'lease_ms', resumeMs: 'resume_ms', retryMs: 'retry_ms', attempts: 'attempts' }
  for (const [time, column] of Object.entries(columns)) {
    const value = times[time as keyof FleetTimes]
    if (value !== undefined) await database.ask(`update fleet.setting set ${column} = ${value}`)
  }
  return database
}

async function askAt<Row>(url: string, query: string): Promise<Row[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(query)).rows as Row[]
  } finally {
    await client.end()
  }
}

/**
 * Counts the jobs that take up room after each change of one, from now on. Returns what resolves with the most at any moment: of
 * all, and of the provider `acme`; and how many workers had jobs.
 */
export async function watchLimits(
  database: FleetDatabase,
): Promise<() => Promise<{ total: number; acme: number; workers: number }>> {
  await database.ask(`
    create table counted (total int, acme int, workers text[]);
    create function count_jobs() returns trigger language plpgsql security definer set search_path = public as $$
      begin
        insert into counted select count(*), count(*) filter (where provider = 'acme'), array_agg(worker)
          from fleet.job where phase in ('starting', 'prompted', 'resumed', 'lapsed');
        return null;
      end $$;
    create trigger counts after insert or update on fleet.job for each statement execute function count_jobs()`)
  return async () => {
    const [row] = await database.ask<{ total: number; acme: number; workers: number }>(
      `select max(total) as total, max(acme) as acme, (select count(distinct worker)::int from counted,
        unnest(workers) as worker) as workers from counted`,
    )
    if (!row) throw new Error('no job has changed')
    return row
  }
}

/**
 * Records the requests for jobs of a worker from now on. Returns what resolves with them in their order: whether each began after
 * the lease of another worker had run out, and whether it got a job. All moments are of the database's clock.
 */
export async function watchRequests(
  database: FleetDatabase,
  worker: string,
): Promise<() => Promise<{ isLate: boolean; isClaim: boolean }[]>> {
  // In a trigger, `now()` is when the call has begun.
  await database.ask(`
    create table asked (at timestamptz default now());
    create table claimed (at timestamptz default now());
    create table leased (until timestamptz);
    create function ask_job() returns trigger language plpgsql security definer set search_path = public as $$
      begin
        if new.name = '${worker}' then insert into asked default values; end if;
        return null;
      end $$;
    create function claim_job() returns trigger language plpgsql security definer set search_path = public as $$
      begin
        if new.worker = '${worker}' and new.fence > old.fence then insert into claimed default values; end if;
        if new.worker <> '${worker}' then insert into leased values (new.lease_until); end if;
        return null;
      end $$;
    create trigger asks after insert or update on fleet.worker for each row execute function ask_job();
    create trigger claims after update on fleet.job for each row execute function claim_job()`)
  return () =>
    database.ask(`select at > (select max(until) from leased) as "isLate", at in (select at from claimed) as "isClaim"
      from asked order by at`)
}
