/** The SQL functions of a launcher. Each reaches only the jobs of its `session_user`. */
import { LARGE_BYTES } from '../call-within.ts'
import { COUNTED, DEFINER, NOW, QUEUE, QUEUE_SCHEMA } from './sql-terms.ts'

/** The bytes of a payload: a bundle of 50 MB in base64, and a prompt. */
const LONGEST_PAYLOAD = 75_000_000

export const LAUNCHER_FUNCTIONS = `
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
`
