/**
 * The fleet in a database, as SQL. All state changes in functions of the role `fleet_owner`: each verb of the port is one call, so
 * that a client that dies or loses its connection leaves no transaction and no lock behind. Launchers and workers may call
 * functions, and change no table; a launcher is known by `session_user`, which no client can choose.
 *
 * The rows of pg-boss (schema `fleet_queue`) are the queue: order, delay, attempts, states and heartbeats, and of a job only its id.
 * What is in a job is in `fleet.job`. Its `phase` alone decides; `fleet.show` writes the row of pg-boss in the same transaction.
 * Limits are counted from the phases under the lock of claims: no counter can leak a slot.
 *
 * The phases, and what moves a job between them, are those of `fleet/rules.ts`.
 */
import { LARGE_BYTES } from '../call-within.ts'
import { DEFAULT_TIMES, PROTOCOL } from '../port.ts'

/** The queue of pg-boss that has the jobs. */
export const QUEUE = 'jobs'
/** The schema of pg-boss. */
export const QUEUE_SCHEMA = 'fleet_queue'
/** Increased with each change of the tables or the functions below. */
export const SCHEMA_VERSION = 3

/** The lock that claims hold while they count. */
const CLAIMS_LOCK = `pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('fleet.claims', 0))`
const DEFINER = `language plpgsql security definer set search_path = pg_catalog, pg_temp`
const NOW = 'pg_catalog.clock_timestamp()'
/** Takes the lock of claims until the end of the transaction. */
export const CLAIMS_LOCKED = `select ${CLAIMS_LOCK}`
/** The phases in which a worker has a lease, and those in which a job takes up room. */
export const HELD = `('starting', 'prompted', 'resumed')`
const COUNTED = `('starting', 'prompted', 'resumed', 'lapsed')`
/** The bytes of a payload: a bundle of 50 MB in base64, and a prompt. */
const LONGEST_PAYLOAD = 75_000_000

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

/** Creates the functions, or replaces those of an earlier version; run as `fleet_owner`. Can be repeated. */
export const FUNCTIONS = `
-- Writes the phase of a job into the row of pg-boss, and wakes its launcher, or the workers.
create or replace function fleet.show(j fleet.job) returns void ${DEFINER} as $$
begin
  update ${QUEUE_SCHEMA}.job q set
    state = (case
      when j.phase = 'waiting' and j.failures = 0 then 'created'
      when j.phase = 'waiting' then 'retry'
      when j.phase in ${COUNTED} then 'active'
      when j.ending = 'result' then 'completed'
      when j.ending = 'cancelled' then 'cancelled'
      else 'failed' end)::${QUEUE_SCHEMA}.job_state,
    retry_count = j.failures,
    started_on = case when j.phase in ${COUNTED} then coalesce(q.started_on, ${NOW}) else q.started_on end,
    heartbeat_on = j.beat_at,
    completed_on = j.ended_at
    where q.name = '${QUEUE}' and q.id = j.entry;
  perform pg_notify('fleet_' || md5(j.owner), '');
  if j.phase in ('waiting', 'ended') then perform pg_notify('fleet_claims', ''); end if;
end $$;

create or replace function fleet.end_job(at_entry uuid, how text, given json, reason text) returns void ${DEFINER} as $$
declare
  j fleet.job;
begin
  update fleet.job set phase = 'ended', ending = how, result = given, why = reason, ended_at = ${NOW}
    where entry = at_entry returning * into j;
  perform fleet.show(j);
end $$;

create or replace function fleet.unstarted(at_entry uuid) returns void ${DEFINER} as $$
begin
  update fleet.job set worker = null, checkpoint = null where entry = at_entry;
  perform fleet.end_job(at_entry, 'cancelled', null, 'it was cancelled before its agent was prompted');
end $$;

-- Has a job wait again that was not started, or ends it after too many failures.
create or replace function fleet.give_back(j fleet.job, reason text) returns void ${DEFINER} as $$
declare
  s fleet.setting;
begin
  select * into s from fleet.setting;
  if j.cancel_asked_at is not null then perform fleet.unstarted(j.entry);
  elsif j.failures + 1 >= s.attempts then
    update fleet.job set failures = j.failures + 1 where entry = j.entry;
    perform fleet.end_job(j.entry, 'failed', null,
      format('its agent was never prompted: %s claims came to nothing; the last, of worker %s: %s',
        j.failures + 1, j.worker, reason));
  else
    perform fleet.wait_again(j, format('worker %s could not start it: %s', j.worker, reason));
    update fleet.job set failures = failures + 1, avoided = j.worker,
      avoided_until = ${NOW} + s.retry_ms * interval '1 ms' where entry = j.entry returning * into j;
    perform fleet.show(j);
  end if;
end $$;

create or replace function fleet.wait_again(j fleet.job, why_again text) returns void ${DEFINER} as $$
begin
  update fleet.job set phase = 'waiting', note = why_again, worker = null, identity = null, process = null,
    lease_until = null, report = null, checkpoint = null where entry = j.entry returning * into j;
  perform fleet.show(j);
end $$;

-- Ends a job whose agent may have been prompted, without its result.
create or replace function fleet.interrupt(j fleet.job, reason text) returns void ${DEFINER} as $$
begin
  perform fleet.end_job(j.entry, case when j.cancel_asked_at is null then 'failed' else 'cancelled' end, null, reason);
end $$;

create or replace function fleet.cancel_unseen(j fleet.job) returns void ${DEFINER} as $$
begin
  perform fleet.end_job(j.entry, 'cancelled', null,
    format('it was cancelled, but worker %s was lost: its agent stops when that worker notices', j.worker));
end $$;

-- Moves on what was lost. Whoever asks the queue runs it, so that no process of its own has to.
create or replace function fleet.sweep() returns void ${DEFINER} as $$
declare
  s fleet.setting;
  j fleet.job;
begin
  select * into s from fleet.setting;
  for j in select * from fleet.job where phase in ${HELD} and lease_until <= ${NOW} for update skip locked loop
    if j.phase = 'starting' then perform fleet.give_back(j, 'it was not heard of any more');
    elsif j.cancel_asked_at is not null then perform fleet.cancel_unseen(j);
    else
      -- While the database was away, no worker could be back in time.
      update fleet.job set phase = 'lapsed',
        resume_until = greatest(lease_until, pg_postmaster_start_time()) + s.resume_ms * interval '1 ms'
        where entry = j.entry;
    end if;
  end loop;
  for j in select * from fleet.job where phase = 'lapsed' and resume_until <= ${NOW} for update skip locked loop
    perform fleet.interrupt(j, format('worker %s was lost, and did not come back in time', j.worker));
  end loop;
  delete from fleet.job where phase = 'forgotten' and ended_at < ${NOW} - interval '7 days';
  with old as (
    delete from fleet.job where phase = 'ended' and ended_at < ${NOW} - interval '30 days' returning entry
  ) delete from ${QUEUE_SCHEMA}.job where name = '${QUEUE}' and id in (select entry from old);
end $$;

create or replace function fleet.protocol() returns int stable ${DEFINER} as $$
begin
  return (select protocol from fleet.setting);
end $$;

-- What is in a job is never parsed here: texts of PostgreSQL cannot have each character that JSON can.
create or replace function fleet.offer(job json, payload json) returns void ${DEFINER} as $$
declare
  j fleet.job;
begin
  if length(offer.payload::text) > ${LONGEST_PAYLOAD} then
    raise exception 'the job has more than 75 MB: set the option fleet.remote, so that less code travels';
  end if;
  insert into fleet.job (owner, id, labels, provider, model, payload)
    values (session_user, job->>'id', array(select json_array_elements_text(job->'labels')),
      job->>'provider', job->>'model', offer.payload)
    on conflict do nothing returning * into j;
  if j.entry is null then return; end if;
  insert into ${QUEUE_SCHEMA}.job (id, name, data, retry_limit, expire_seconds, keep_until)
    select j.entry, '${QUEUE}', json_build_object('id', j.id), 0, 2147483647, 'infinity';
  perform pg_notify('fleet_claims', '');
end $$;

create or replace function fleet.cancel(job_id text) returns boolean ${DEFINER} as $$
declare
  j fleet.job;
begin
  -- An offer that comes later starts nothing.
  insert into fleet.job (owner, id, phase, ended_at) values (session_user, job_id, 'forgotten', ${NOW})
    on conflict do nothing returning * into j;
  if j.entry is not null then return false; end if;
  -- Before the sweep, which waits for no row: else two who hold rows could wait for each other.
  perform from fleet.job where owner = session_user and id = job_id for update;
  perform fleet.sweep();
  update fleet.job set cancel_asked_at = coalesce(cancel_asked_at, ${NOW})
    where owner = session_user and id = job_id returning * into j;
  if j.phase = 'waiting' then perform fleet.unstarted(j.entry);
  elsif j.phase = 'lapsed' then perform fleet.cancel_unseen(j);
  end if;
  perform pg_notify('fleet_claims', j.entry::text);
  -- A repeated cancel of what was never offered is answered as the first one, whose answer may have been lost.
  return j.phase <> 'forgotten';
end $$;

create or replace function fleet.say(job_id text, message_id text, body text) returns boolean ${DEFINER} as $$
declare
  j fleet.job;
begin
  select * into j from fleet.job where owner = session_user and id = job_id for update;
  if not found or j.phase in ('ended', 'forgotten') then return false; end if;
  insert into fleet.message (entry, id, body) values (j.entry, message_id, say.body) on conflict do nothing;
  perform pg_notify('fleet_claims', j.entry::text);
  return true;
end $$;

create or replace function fleet.acknowledge(job_id text) returns void ${DEFINER} as $$
declare
  j fleet.job;
begin
  update fleet.job set phase = 'forgotten', payload = null, result = null, report = null, checkpoint = null,
    note = null, why = null
    where owner = session_user and id = job_id and phase = 'ended' returning * into j;
  delete from ${QUEUE_SCHEMA}.job where name = '${QUEUE}' and id = j.entry;
  delete from fleet.message where entry = j.entry;
end $$;

create or replace function fleet.states(ids text[]) returns table (id text, state json, result json, checkpoint json, report json) ${DEFINER} as $$
begin
  perform fleet.sweep();
  return query select j.id, json_strip_nulls(case
    when j.phase = 'waiting' then json_build_object('type', 'waiting', 'note', j.note)
    when j.phase in ${COUNTED} then json_build_object('type', 'claimed', 'worker', j.worker,
      'isPrompted', j.phase <> 'starting',
      'silentMs', greatest(0, round(extract(epoch from ${NOW} - j.beat_at) * 1000)))
    else json_build_object('type', 'ended', 'worker', j.worker, 'why', j.why,
      'isCancelled', case when j.ending = 'cancelled' then true end,
      'unheard', (select json_agg(m.body order by m.number) from fleet.message m
        where m.entry = j.entry and m.heard_at is null),
      'bytes', case when e.bytes > ${LARGE_BYTES} then e.bytes end) end),
    case when e.bytes <= ${LARGE_BYTES} then j.result end, case when e.bytes <= ${LARGE_BYTES} then j.checkpoint end,
    case when j.phase in ${COUNTED} then j.report end
    from fleet.job j, lateral (select case when j.phase = 'ended' then
      coalesce(octet_length(j.result::text), 0) + coalesce(octet_length(j.checkpoint::text), 0) end as bytes) e
    where j.owner = session_user and j.id = any(ids) and j.phase <> 'forgotten';
end $$;

-- What fleet.states leaves out of a large end. Locks nothing, since it may take minutes to arrive.
create or replace function fleet.end_of(job_id text) returns table (result json, checkpoint json) stable ${DEFINER} as $$
begin
  return query select j.result, j.checkpoint from fleet.job j
    where j.owner = session_user and j.id = job_id and j.phase = 'ended';
end $$;

create or replace function fleet.claim(request json) returns json ${DEFINER} as $$
declare
  s fleet.setting;
  w json := request->'worker';
  known fleet.worker;
  j fleet.job;
  resumed uuid;
  has text[] := array(select json_array_elements_text(w->'labels'));
  full_providers text[];
  full_models text[];
begin
  select * into s from fleet.setting;
  if (w->>'protocol')::int <> s.protocol then
    return json_build_object('type', 'refused', 'why', format(
      'worker %s speaks version %s of the protocol, and this database version %s: install the same version of opencode-background in both%s',
      w->>'name', w->>'protocol', s.protocol,
      case when (w->>'protocol')::int > s.protocol then ', and run \`opencode-background fleet migrate\`' else '' end));
  end if;
  -- Most requests find nothing: they wait for no lock.
  update fleet.worker set number = (request->>'number')::bigint, beat_at = ${NOW}, labels = has, slots = (w->>'slots')::int
    where name = w->>'name' and process = w->>'process' and number < (request->>'number')::bigint
      and not exists (select from fleet.job where phase = 'waiting')
      and not exists (select from fleet.job where phase in ${HELD} and lease_until <= ${NOW})
      and not exists (select from fleet.job o where phase in ${COUNTED} and o.worker = w->>'name'
        and not exists (select from json_array_elements(request->'holding') h
          where h->>'job' = o.entry::text and (h->>'fence')::bigint = o.fence));
  if found then return json_build_object('type', 'none'); end if;
  perform ${CLAIMS_LOCK};
  perform fleet.sweep();
  select * into known from fleet.worker where name = w->>'name';
  if known.identity <> w->>'identity' and known.beat_at + s.lease_ms * interval '1 ms' > ${NOW} then
    return json_build_object('type', 'refused', 'why', format(
      'another worker has the name %s, and gave a sign of life %s s ago: start this one with another --name',
      known.name, round(extract(epoch from ${NOW} - known.beat_at))));
  end if;
  if w->>'process' = any(known.replaced) then return json_build_object('type', 'replaced'); end if;
  if known.process = w->>'process' and (request->>'number')::bigint <= known.number then
    return json_build_object('type', 'none');
  end if;
  insert into fleet.worker (name, identity, process, number, protocol, labels, slots)
    values (w->>'name', w->>'identity', w->>'process', (request->>'number')::bigint, s.protocol, has,
      (w->>'slots')::int)
    on conflict (name) do update set identity = excluded.identity, process = excluded.process,
      number = excluded.number, labels = excluded.labels, slots = excluded.slots, beat_at = ${NOW},
      started_at = case when known.process = excluded.process then known.started_at else ${NOW} end,
      replaced = case when known.process = excluded.process then known.replaced
        else (known.process || known.replaced)[1:20] end;

  -- At most one process of the worker has each of its jobs; an earlier one stops its agents when it is told.
  for j in select * from fleet.job o where o.phase in ${COUNTED} and o.worker = w->>'name' and o.identity = w->>'identity'
    and not (o.process = w->>'process' and exists (select from json_array_elements(request->'holding') h
      where h->>'job' = o.entry::text and (h->>'fence')::bigint = o.fence))
    -- An earlier process may settle it meanwhile: an end stays.
    for update loop
    if j.phase = 'starting' then perform fleet.give_back(j, 'it was lost on its way to the worker');
    elsif j.process = w->>'process' and j.phase <> 'resumed' and request->>'wants' <> 'resumed' then
      perform fleet.interrupt(j, format('worker %s lost the queue for too long, and stopped the agent', j.worker));
    else
      resumed := coalesce(resumed, j.entry);
    end if;
  end loop;
  if resumed is not null then
    update fleet.job set phase = 'resumed', fence = fence + 1, process = w->>'process',
      beat_at = ${NOW}, lease_until = ${NOW} + s.lease_ms * interval '1 ms'
      where entry = resumed returning * into j;
    perform fleet.show(j);
    return fleet.claim_of(j, 'resume');
  end if;

  if request->>'wants' = 'resumed' or (w->>'slots')::int <= (select count(*) from fleet.job
      where phase in ${COUNTED} and worker = w->>'name')
    or (select most from fleet.cap where scope = 'total') <= (select count(*) from fleet.job
      where phase in ${COUNTED}) then
    return json_build_object('type', 'none');
  end if;
  full_providers := array(select key from fleet.cap c where scope = 'provider' and most <=
    (select count(*) from fleet.job where phase in ${COUNTED} and provider = c.key)
    union select provider from fleet.backoff where until > ${NOW});
  full_models := array(select key from fleet.cap c where scope = 'model' and most <=
    (select count(*) from fleet.job where phase in ${COUNTED} and model = c.key));
  select o.* into j from fleet.job o
    where o.phase = 'waiting' and o.labels <@ has
      and (o.provider is null or o.provider <> all(full_providers))
      and (o.model is null or o.model <> all(full_models))
      and (o.avoided is distinct from w->>'name' or o.avoided_until <= ${NOW})
    order by o.offered_at limit 1 for update skip locked;
  if not found then return json_build_object('type', 'none'); end if;
  update fleet.job set phase = 'starting', fence = fence + 1, worker = w->>'name',
    identity = w->>'identity', process = w->>'process', note = null, beat_at = ${NOW},
    lease_until = ${NOW} + s.lease_ms * interval '1 ms'
    where entry = j.entry returning * into j;
  perform fleet.show(j);
  return fleet.claim_of(j, 'start');
end $$;

create or replace function fleet.claim_of(j fleet.job, how text) returns json stable ${DEFINER} as $$
begin
  return json_build_object('type', 'claimed', 'claim', json_build_object(
    'job', j.entry, 'fence', j.fence, 'type', how, 'owner', j.owner, 'attempt', j.failures + 1,
    'leaseMs', (select lease_ms from fleet.setting),
    'offer', json_strip_nulls(json_build_object('id', j.id, 'labels', to_json(j.labels),
      'provider', j.provider, 'model', j.model)),
    'payloadBytes', octet_length(j.payload::text)));
end $$;

-- Apart from fleet.claim, which holds the lock of claims until its whole answer was sent.
create or replace function fleet.payload(at_entry uuid, at_fence bigint) returns json stable ${DEFINER} as $$
begin
  return (select j.payload from fleet.job j where j.entry = at_entry and j.fence = at_fence and j.phase in ${COUNTED});
end $$;

-- Returns the row of a claim that holds, locked.
create or replace function fleet.held(at_entry uuid, at_fence bigint) returns fleet.job ${DEFINER} as $$
declare
  j fleet.job;
begin
  select * into j from fleet.job where entry = at_entry and fence = at_fence and phase in ${HELD} for update;
  if j.lease_until <= ${NOW} then return null; end if;
  return j;
end $$;

create or replace function fleet.beat(at_entry uuid, at_fence bigint, beat json, new_report json, new_checkpoint json) returns json ${DEFINER} as $$
declare
  j fleet.job := fleet.held(at_entry, at_fence);
  before text := j.phase;
begin
  if j.entry is null then return json_build_object('type', 'lost'); end if;
  update fleet.job set
    phase = case when phase = 'starting' and beat->>'phase' = 'prompted' and cancel_asked_at is null then 'prompted'
      else phase end,
    report = coalesce(new_report, report), checkpoint = coalesce(new_checkpoint, checkpoint),
    beat_at = ${NOW}, lease_until = ${NOW} + (select lease_ms from fleet.setting) * interval '1 ms'
    where entry = at_entry returning * into j;
  -- A claim of this worker that has its row locked writes the same, and may wait for the job.
  update fleet.worker set beat_at = ${NOW} where name in
    (select name from fleet.worker where name = j.worker and process = j.process for update skip locked);
  update fleet.message set heard_at = ${NOW} where entry = at_entry and heard_at is null
    and id in (select json_array_elements_text(beat->'heard'));
  if beat->'backoff' is not null then
    -- Bounded, so that a provider is tried again whatever it says.
    insert into fleet.backoff (provider, until) values (beat->'backoff'->>'provider',
        ${NOW} + least((beat->'backoff'->>'forMs')::numeric, 600000)::int * interval '1 ms')
      on conflict (provider) do update set until = greatest(backoff.until, excluded.until);
  end if;
  if j.phase <> before then perform fleet.show(j);
  else
    update ${QUEUE_SCHEMA}.job set heartbeat_on = j.beat_at where name = '${QUEUE}' and id = at_entry;
    if new_report is not null then perform pg_notify('fleet_' || md5(j.owner), ''); end if;
  end if;
  return json_build_object('type', 'held', 'isCancelled', j.cancel_asked_at is not null, 'messages',
    (select coalesce(json_agg(json_build_object('id', m.id, 'text', m.body) order by m.number), '[]')
      from fleet.message m where m.entry = at_entry and m.heard_at is null and j.phase <> 'starting'));
end $$;

create or replace function fleet.settle(at_entry uuid, at_fence bigint, settlement json, new_result json) returns boolean ${DEFINER} as $$
declare
  j fleet.job;
  how text := settlement->>'type';
begin
  select * into j from fleet.job where entry = at_entry;
  if j.settled = at_fence then return true; end if;
  j := fleet.held(at_entry, at_fence);
  if j.entry is null and how = 'result' then
    -- The agent has stopped: its result is taken as long as the job is at its worker, or waits for it.
    select * into j from fleet.job where entry = at_entry and fence = at_fence
      and phase in ('prompted', 'resumed', 'lapsed') for update;
  end if;
  if j.entry is null or (how in ('notStarted', 'released', 'cancelled') and j.phase = 'resumed')
    or (how = 'cancelled' and j.cancel_asked_at is null) then
    return false;
  end if;
  update fleet.message set heard_at = ${NOW} where entry = at_entry and heard_at is null
    and id in (select json_array_elements_text(settlement->'heard'));
  case how
    when 'result' then perform fleet.end_job(at_entry, 'result', new_result, null);
    when 'interrupted' then perform fleet.interrupt(j, settlement->>'why');
    when 'cancelled' then perform fleet.unstarted(at_entry);
    when 'notStarted' then perform fleet.give_back(j, settlement->>'why');
    when 'released' then
      if j.cancel_asked_at is null then perform fleet.wait_again(j, null);
      else perform fleet.unstarted(at_entry);
      end if;
  end case;
  update fleet.job set settled = at_fence where entry = at_entry;
  return true;
end $$;

create or replace function fleet.status() returns json ${DEFINER} as $$
declare
  sees_all boolean := pg_has_role(session_user, 'fleet_worker', 'member') or pg_has_role(session_user, 'fleet_owner', 'member');
begin
  perform fleet.sweep();
  return json_build_object(
    'workers', (select coalesce(json_agg(json_build_object('name', w.name, 'protocol', w.protocol,
        'labels', to_json(w.labels), 'slots', w.slots, 'inUse', (select count(*) from fleet.job j
          where j.phase in ${COUNTED} and j.worker = w.name),
        'silentMs', round(extract(epoch from ${NOW} - w.beat_at) * 1000)) order by w.name), '[]')
      from fleet.worker w),
    'waiting', (select count(*) from fleet.job where phase = 'waiting'),
    'working', (select count(*) from fleet.job where phase in ${COUNTED}),
    'untold', (select count(*) from fleet.job where phase = 'ended'),
    'owners', (select coalesce(json_agg(o order by o.owner), '[]') from (select owner,
        count(*) filter (where phase = 'waiting') as waiting,
        count(*) filter (where phase in ${COUNTED}) as working,
        count(*) filter (where phase = 'ended') as untold
      from fleet.job where phase <> 'forgotten' and (sees_all or owner = session_user) group by owner) o),
    'limits', (select coalesce(json_agg(json_build_object('scope', c.scope, 'key', c.key, 'most', c.most, 'inUse',
        (select count(*) from fleet.job j where j.phase in ${COUNTED} and case c.scope when 'total' then true
          when 'provider' then j.provider = c.key else j.model = c.key end)) order by c.scope desc, c.key), '[]')
      from fleet.cap c),
    'backoffs', (select coalesce(json_agg(json_build_object('provider', b.provider,
        'forMs', round(extract(epoch from b.until - ${NOW}) * 1000)) order by b.provider), '[]')
      from fleet.backoff b where b.until > ${NOW}));
end $$;

revoke all on all functions in schema fleet from public;
grant usage on schema fleet to fleet_launcher, fleet_worker;
grant select on fleet.job, fleet.message to fleet_launcher;
grant execute on function fleet.protocol(), fleet.status() to fleet_launcher, fleet_worker;
grant execute on function fleet.offer(json, json), fleet.cancel(text), fleet.say(text, text, text),
  fleet.acknowledge(text), fleet.states(text[]), fleet.end_of(text) to fleet_launcher;
grant execute on function fleet.claim(json), fleet.payload(uuid, bigint), fleet.beat(uuid, bigint, json, json, json),
  fleet.settle(uuid, bigint, json, json)
  to fleet_worker;
`
