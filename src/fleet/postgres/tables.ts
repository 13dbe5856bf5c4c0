/** The roles and the tables of a fleet in a database. Launchers and workers may change none of them: `functions.ts` does. */
import { DEFAULT_TIMES, PROTOCOL } from '../port.ts'
import { COUNTED, NOW } from './sql-terms.ts'

/** Increased with each change of the tables or of the functions. */
export const SCHEMA_VERSION = 3

/** Creates the roles; run as the administrator. */
export const ROLES = `
do $$
declare
  role text;
begin
  foreach role in array array['fleet_owner', 'fleet_launcher', 'fleet_worker'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = role) then
      execute format('create role %I nologin', role);
    end if;
  end loop;
  execute format('grant fleet_owner to %I', current_user);
  execute format('grant create on database %I to fleet_owner', current_database());
end $$;
`

/** Creates the tables; run as `fleet_owner` after pg-boss's schema. */
export const TABLES = `
create schema fleet;

create table fleet.setting (
  singleton boolean primary key default true check (singleton),
  version int not null,
  protocol int not null,
  lease_ms int not null default ${DEFAULT_TIMES.leaseMs} check (lease_ms >= 1000),
  resume_ms int not null default ${DEFAULT_TIMES.resumeMs},
  retry_ms int not null default ${DEFAULT_TIMES.retryMs},
  attempts int not null default ${DEFAULT_TIMES.attempts}
);
insert into fleet.setting (version, protocol) values (${SCHEMA_VERSION}, ${PROTOCOL});

create table fleet.cap (
  scope text not null check (scope in ('total', 'provider', 'model')),
  key text not null default '',
  most int not null check (most >= 0),
  primary key (scope, key)
);

create table fleet.backoff (provider text primary key, until timestamptz not null);

create table fleet.worker (
  name text primary key,
  identity text not null,
  process text not null,
  -- The latest processes before it, so that one that still runs is told.
  replaced text[] not null default '{}',
  number bigint not null,
  protocol int not null,
  labels text[] not null,
  slots int not null,
  started_at timestamptz not null default ${NOW},
  beat_at timestamptz not null default ${NOW}
);

create table fleet.job (
  owner name not null,
  id text not null,
  entry uuid not null unique default gen_random_uuid(),
  phase text not null default 'waiting'
    check (phase in ('waiting', 'starting', 'prompted', 'resumed', 'lapsed', 'ended', 'forgotten')),
  labels text[] not null default '{}',
  provider text,
  model text,
  payload json,
  offered_at timestamptz not null default ${NOW},
  -- The claim.
  worker text,
  identity text,
  process text,
  fence bigint not null default 0,
  failures int not null default 0,
  settled bigint,
  resume_until timestamptz,
  lease_until timestamptz,
  beat_at timestamptz,
  report json,
  checkpoint json,
  cancel_asked_at timestamptz,
  -- Why it waits again, and who does not get it for now.
  note text,
  avoided text,
  avoided_until timestamptz,
  -- The end.
  ending text check (ending in ('result', 'cancelled', 'failed')),
  result json,
  why text,
  ended_at timestamptz,
  primary key (owner, id)
);
create index on fleet.job (phase, lease_until) where phase in ${COUNTED};
create index on fleet.job (provider, model) where phase in ${COUNTED};
create index on fleet.job (worker) where phase in ${COUNTED};
create index on fleet.job (offered_at) where phase = 'waiting';
create index on fleet.job (ended_at) where phase in ('ended', 'forgotten');

create table fleet.message (
  entry uuid not null references fleet.job (entry) on delete cascade,
  id text not null,
  number bigint generated always as identity,
  body text not null,
  heard_at timestamptz,
  primary key (entry, id)
);

alter table fleet.job enable row level security;
alter table fleet.message enable row level security;
create policy own on fleet.job for select to fleet_launcher using (owner = current_user);
create policy own on fleet.message for select to fleet_launcher
  using (exists (select from fleet.job j where j.entry = message.entry and j.owner = current_user));
`
