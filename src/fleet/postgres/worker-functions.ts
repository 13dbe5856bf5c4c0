/** The SQL functions of a worker: they claim a job, and beat and settle it for the holder of the claim. */
import { CLAIMS_LOCK, COUNTED, DEFINER, HELD, NOW, QUEUE, QUEUE_SCHEMA } from './sql-terms.ts'

export const WORKER_FUNCTIONS = `
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
`
